/* Draws a second of sound from a model file into a WAV file, in pieces of 20 ms as a player would
   ask for them: draw mine.engine sound.wav [seed] */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "samplewise/samplewise.h"

static void write_number(FILE* file, unsigned value, int bytes) {
  for (int i = 0; i < bytes; ++i) fputc((int)(value >> (8 * i) & 255), file);
}

static void write_header(FILE* file, unsigned rate, unsigned samples) {
  fwrite("RIFF", 1, 4, file);
  write_number(file, 36 + 2 * samples, 4);
  fwrite("WAVEfmt ", 1, 8, file);
  write_number(file, 16, 4);
  write_number(file, 1, 2); /* PCM */
  write_number(file, 1, 2); /* channel */
  write_number(file, rate, 4);
  write_number(file, 2 * rate, 4);
  write_number(file, 2, 2);
  write_number(file, 16, 2);
  fwrite("data", 1, 4, file);
  write_number(file, 2 * samples, 4);
}

int main(int argc, char** argv) {
  const unsigned long long seed = argc > 3 ? strtoull(argv[3], NULL, 10) : 0;
  samplewise_model* model = argc > 2 ? samplewise_load(argv[1], "int8") : NULL;
  samplewise_stream* stream = model ? samplewise_open(model, seed, 0, 1) : NULL;
  FILE* file = stream ? fopen(argv[2], "wb") : NULL;
  if (!file) {
    fprintf(stderr, "draw MODEL WAV [SEED]: %s\n", samplewise_error());
    return 1;
  }
  const int rate = samplewise_sample_rate(model), piece = rate / 50;
  float* sound = malloc((size_t)piece * sizeof(float));
  write_header(file, (unsigned)rate, (unsigned)(50 * piece));
  for (int i = 0; i < 50 && samplewise_draw(stream, 1.0, piece, sound) == 0; ++i) {
    for (int t = 0; t < piece; ++t) write_number(file, (unsigned)lrintf(32767 * sound[t]), 2);
  }
  free(sound);
  samplewise_close(stream);
  samplewise_free_model(model);
  return fclose(file);
}
