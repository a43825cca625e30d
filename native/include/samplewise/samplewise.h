/* The engine for programs in C: load a model file and draw sound from it, a piece at a time.

   samplewise export RUN mine.engine --engine  writes the file; native/src/model_file.h describes
   it. Link with libsamplewise_core, the C++ standard library and the system's threads. A function
   that fails returns NULL or -1, and samplewise_error says why. */
#ifndef SAMPLEWISE_SAMPLEWISE_H
#define SAMPLEWISE_SAMPLEWISE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Version of this interface. Functions are added to it; what a function does does not change. */
#define SAMPLEWISE_VERSION 1

typedef struct samplewise_model samplewise_model;   /* immutable; shared by streams and threads */
typedef struct samplewise_stream samplewise_stream; /* one clip; used by one thread at a time */

/* What went wrong in the last call of this thread that failed. */
const char* samplewise_error(void);

/* Loads a model file. `weights` is f32, f16, int8x16 or int8 (docs/engine.md). A model that is
   conditioned is refused. */
samplewise_model* samplewise_load(const char* path, const char* weights);
void samplewise_free_model(samplewise_model* model);       /* after its streams; NULL is allowed */
int samplewise_sample_rate(const samplewise_model* model); /* Hz */

/* Begins a clip. Seed and clip number determine every sample, for any number of threads and any
   lengths of the pieces, as in `samplewise generate --weights ... --temperature ... --start silence
   --target-bits off`. */
samplewise_stream* samplewise_open(const samplewise_model* model, uint64_t seed, uint64_t clip,
                                   int threads);
void samplewise_close(samplewise_stream* stream); /* NULL is allowed */

/* Draws the next samples, amplitudes in [-1, 1]. A temperature of 1 is the model's own
   distribution; less is closer to its most probable code. Returns 0, or -1. */
int samplewise_draw(samplewise_stream* stream, double temperature, int samples, float* out);

#ifdef __cplusplus
}
#endif
#endif
