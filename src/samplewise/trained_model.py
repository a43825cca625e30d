"""A trained model: it draws clips, streams, scores recordings, vocodes and is exported.

:func:`samplewise.load` makes one.
"""

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float

from samplewise.data.remote import Folder, RemoteFolder, as_folder
from samplewise.generate.temperature import Envelope, to_envelope
from samplewise.progress import ProgressBar, ProgressCallback

if TYPE_CHECKING:
    from samplewise.config.conditioning import ConditioningConfig
    from samplewise.data.corpus import Corpus
    from samplewise.evaluate.evaluation import Score
    from samplewise.generate.backend import Backend
    from samplewise.generate.clips import Clip, Start, TargetBits
    from samplewise.generate.prompts import Prompt
    from samplewise.models.io import LoadedModel

Wave = Float[np.ndarray, " samples"]
Mel = Float[np.ndarray, "frames n_mels"]
Weights = Literal["int8", "int8x16", "f16", "f32"]
Split = Literal["test", "valid", "train"]


class Model:
    """A trained model that draws clips and scores recordings; :func:`load` makes it."""

    def __init__(self, loaded: "LoadedModel", backend: "Backend", max_memory: float):
        self.loaded = loaded
        """The network, its audio format and its provenance."""
        self.backend = backend
        """What computes the draws."""
        self.max_memory = max_memory
        """Bytes that the model and the clips drawn at once may take."""

    @property
    def sample_rate(self) -> int:
        """Sample rate of the clips, in hertz."""
        return self.loaded.audio.sample_rate

    @property
    def family(self) -> str:
        """Family of the model: samplernn, rnn, wavenet, hybrid, wavernn, ..."""
        return self.loaded.model.config.family

    @property
    def parameters(self) -> int:
        """Number of weights, pruned ones included."""
        return sum(parameter.numel() for parameter in self.loaded.model.parameters())

    @property
    def conditioning(self) -> "ConditioningConfig | None":
        """Configuration of the conditioning; None for an unconditional model."""
        conditioner = self.loaded.model.conditioner
        return None if conditioner is None else conditioner.config

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes that the model is conditioned on; empty without classes."""
        return () if self.conditioning is None else self.conditioning.classes

    def __repr__(self) -> str:
        known = self.loaded.provenance
        corpus, bits = known.get("corpus"), known.get("valid_bits")
        parts = [
            f"{self.family} {known.get('preset') or ''}".rstrip(),
            f"{self.parameters / 1e6:.2f} M parameters",
            f"{self.sample_rate} Hz",
            *(["mel spectrograms"] if self.conditioning and self.conditioning.mel else []),
            *([f"labels {', '.join(self.labels)}"] if self.labels else []),
        ]
        if isinstance(corpus, dict) and "folder" in corpus:
            parts.append(f"trained on {Path(str(corpus['folder'])).name!r}")
        if known.get("step") is not None:
            parts.append(f"step {known['step']}")
        if isinstance(bits, float):
            parts.append(f"validation {bits:.3f} bits per sample")
        return f"Model({' · '.join(parts)})"

    def generate(
        self,
        count: int = 1,
        seconds: float = 10.0,
        *,
        seed: int | None = None,
        temperature: float | str | Envelope | None = None,
        min_p: float = 0.0,
        prompt: "str | Path | Wave | Prompt | None" = None,
        keep_prompt: bool = True,
        start: "Start" = "corpus",
        target_bits: "TargetBits" = "auto",
        label: str | None = None,
        batch: int = 64,
        first_index: int = 0,
        retry_flagged: int = 0,
        progress: ProgressCallback | None = None,
    ) -> "list[Clip]":
        """Draw clips. Clip i of a seed is the same alone or among others.

        Args:
            count: Number of clips.
            seconds: Length of what is drawn, without the prompt.
            seed: In [0, 2**64); None: a random one, which each clip records.
            temperature: Below 1 is safer, above 1 is wilder; a number, or an envelope in seconds:
                ``"0:0.8,5:1.1"``. At most 10. None: the model's own, 1 for most models.
            min_p: Codes less than ``min_p`` times as probable as the most probable code are not
                drawn; in [0, 1).
            prompt: Recording that every clip continues: a sound file, or samples at the model's
                rate, full scale ±1.
            keep_prompt: Begin each clip with the prompt.
            start: What a clip without a prompt follows: corpus, a short excerpt of the training
                split if the model has any, or silence.
            target_bits: Bits per sample near which the temperature keeps each clip; auto: the
                validation bits for a model with a linear predictor, or, with a mixture, the level
                of its training recordings; None: no control.
            label: Class of every clip, for a model with classes; None: each class in turn.
            batch: Largest number of clips drawn together.
            first_index: Index of the first clip.
            retry_flagged: How often a flagged clip is drawn again at most, with further seeds.
            progress: Called with samples drawn of all clips together, and their total.

        Raises:
            ValueError: If an argument is out of range.
            SamplewiseError: If the model does not know the label, or needs a mel spectrogram.
            AudioError: If the prompt cannot be read.
        """
        clips = list(
            self.iterate(
                count,
                seconds,
                seed=seed,
                temperature=temperature,
                min_p=min_p,
                prompt=prompt,
                keep_prompt=keep_prompt,
                start=start,
                target_bits=target_bits,
                label=label,
                batch=batch,
                first_index=first_index,
                retry_flagged=retry_flagged,
                progress=progress,
            )
        )
        return sorted(clips, key=lambda clip: clip.index)

    def iterate(
        self,
        count: int = 1,
        seconds: float = 10.0,
        *,
        seed: int | None = None,
        temperature: float | str | Envelope | None = None,
        min_p: float = 0.0,
        prompt: "str | Path | Wave | Prompt | None" = None,
        keep_prompt: bool = True,
        start: "Start" = "corpus",
        target_bits: "TargetBits" = "auto",
        label: str | None = None,
        batch: int = 64,
        first_index: int = 0,
        retry_flagged: int = 0,
        progress: ProgressCallback | None = None,
        prompt_progress: ProgressCallback | None = None,
    ) -> "Iterator[Clip]":
        """Yield the clips of :meth:`generate` as soon as their batch is complete.

        Clips that were drawn again come last. ``prompt_progress`` is called with samples of the
        prompt done, and their total.
        """
        from samplewise.config.validation import check_at_least
        from samplewise.generate.clips import iterate_clips
        from samplewise.generate.prompts import to_wave
        from samplewise.generate.retries import check_retries, redraw_flagged
        from samplewise.generate.uniforms import check_numbers, pick_seed

        check_at_least("count", count, 1)
        check_at_least("batch", batch, 1)
        seed, indices = pick_seed(seed), range(first_index, first_index + count)
        check_numbers(seed, [indices[0], indices[-1]])
        check_retries(retry_flagged)
        draw = partial(
            iterate_clips,
            self.loaded,
            seconds=seconds,
            temperature=None if temperature is None else to_envelope(temperature),
            prompt=to_wave(prompt, self.loaded.audio),
            keep_prompt=keep_prompt,
            start=start,
            target_bits=target_bits,
            batch=batch,
            progress=progress,
            prompt_progress=prompt_progress,
            backend=self.backend_for(min(count, batch), min_p),
            label=label,
        )
        return redraw_flagged(draw, indices, seed, retry_flagged)

    def stream(
        self,
        seconds: float | None = None,
        *,
        seed: int | None = None,
        temperature: float | str | Envelope | None = None,
        min_p: float = 0.0,
        prompt: "str | Path | Wave | Prompt | None" = None,
        keep_prompt: bool = True,
        start: "Start" = "corpus",
        target_bits: "TargetBits" = "auto",
        label: str | None = None,
        index: int = 0,
        chunk_seconds: float = 0.1,
        prompt_progress: ProgressCallback | None = None,
    ) -> "Iterator[Wave]":
        """Draw clip ``index`` of a seed chunk by chunk, without end, in constant memory.

        The samples are those of :meth:`generate`, whose arguments have the same meaning.

        Args:
            seconds: Length of what is drawn; None: without end.
            seed: In [0, 2**64); None: a random one.
            temperature: A number or an envelope; None: the model's own.
            min_p: Threshold of improbable codes.
            prompt: Recording that is continued.
            keep_prompt: Begin with the prompt.
            start: As for :meth:`generate`.
            target_bits: As for :meth:`generate`.
            label: Class of the clip.
            index: Index of the clip.
            chunk_seconds: Seconds per chunk.
            prompt_progress: Called with samples of the prompt done, and their total.

        Returns:
            An iterator of float32 arrays, full scale ±1. Arguments are checked at once.
        """
        from samplewise.generate.class_conditioning import class_conditioning
        from samplewise.generate.clips import samples_of, stream_chunks
        from samplewise.generate.prompts import to_wave
        from samplewise.generate.uniforms import check_numbers, pick_seed

        seed = pick_seed(seed)
        check_numbers(seed, [index])
        class_conditioning(self.loaded.model, label, [index])
        return stream_chunks(
            self.loaded,
            seed,
            samples=None if seconds is None else samples_of(seconds, self.sample_rate),
            index=index,
            temperature=None if temperature is None else to_envelope(temperature),
            prompt=to_wave(prompt, self.loaded.audio),
            keep_prompt=keep_prompt,
            start=start,
            target_bits=target_bits,
            chunk_s=chunk_seconds,
            prompt_progress=prompt_progress,
            backend=self.backend_for(1, min_p),
            label=label,
        )

    def score(
        self,
        source: "str | Folder | Wave | Corpus",
        *,
        split: Split = "test",
        sample_rate: int | None = None,
        label: str | None = None,
        labels: str | None = None,
        clip_seconds: float | None = None,
        baselines: bool = False,
        weights: Weights | None = None,
        progress: ProgressBar | None = None,
    ) -> "Score":
        """Measure the bits per sample of one recording, or of a split of a corpus.

        A recording is resampled and scaled as ``prepare`` does, with the gain of the corpus that
        the model was trained on, or a smaller one if it would exceed full scale.

        Args:
            source: A sound file, samples at full scale ±1, a corpus, or the folder or URL of a
                corpus.
            split: Split of a corpus.
            sample_rate: Of samples, in hertz; None: the model's.
            label: Class of a recording, for a model that is conditioned on classes.
            labels: Classes of a corpus: a CSV file, or ``folders``; None: as trained.
            clip_seconds: Seconds that state is carried through; 0: whole recordings; None: as
                trained.
            baselines: Score the baselines too; needs a corpus.
            weights: Format of the weights in the native engine; None: the reference, exactly.
            progress: Opens a progress bar.

        Raises:
            AudioError: If the recording cannot be read.
            CorpusError: If the corpus does not fit the model.
        """
        from samplewise.data.corpus import Corpus
        from samplewise.data.recording import corpus_of
        from samplewise.evaluate.evaluation import evaluate_split, find_labels

        if isinstance(source, str | Folder):
            place = as_folder(source)
            if isinstance(place, RemoteFolder) or place.is_dir():
                source = Corpus.open(place)
            else:
                source = place
        if isinstance(source, Corpus):
            named = find_labels(labels, self.loaded, source)
        else:
            baselines, split = False, "test"
            source = corpus_of(source, self.sample_rate, self.loaded.audio.gain, sample_rate)
            named = None if label is None else {source.recordings[0].source: label}
        return evaluate_split(
            self.loaded,
            source,
            split,
            clip_seconds,
            labels=named,
            with_baselines=baselines,
            weights=weights,
            bar=progress,
        )

    def vocode(
        self,
        source: "str | Path | Mel",
        *,
        seed: int | None = None,
        temperature: float | str | Envelope = 1.0,
        min_p: float = 0.0,
        label: str | None = None,
        corrections: int = 10,
    ) -> "Clip":
        """Draw the sound of a mel spectrogram, with a model that is conditioned on them.

        Args:
            source: A sound file, of which only the spectrogram is used; a ``.npy`` file of a
                spectrogram; or the spectrogram, frames x bands, ln of magnitudes.
            seed: In [0, 2**64); None: a random one.
            temperature: A number or an envelope, as in :meth:`generate`.
            min_p: Threshold of improbable codes, as in :meth:`generate`.
            label: Class of the sound, for a model that is conditioned on classes too.
            corrections: Rounds of spectral correction; 0: the model alone.

        Raises:
            SamplewiseError: If the model is no vocoder.
            ValueError: If the source is no spectrogram of the model.
        """
        from samplewise.generate.mel_input import read_mel

        samples = None
        if isinstance(source, str | Path):
            source, samples = read_mel(Path(source), self.loaded)
        [clip] = self.vocode_all(
            [source],
            seed=seed,
            temperature=temperature,
            min_p=min_p,
            labels=[label],
            corrections=corrections,
        )
        return clip if samples is None else replace(clip, samples=clip.samples[:samples])

    def vocode_all(
        self,
        mels: "Sequence[Mel]",
        *,
        seed: int | None = None,
        temperature: float | str | Envelope = 1.0,
        min_p: float = 0.0,
        labels: Sequence[str | None] | None = None,
        corrections: int = 10,
    ) -> "list[Clip]":
        """Draw the sound of several spectrograms side by side; spectrogram i is clip i."""
        from samplewise.generate.uniforms import pick_seed
        from samplewise.generate.vocoder import check_corrections, vocode_all

        check_corrections(self.loaded.model, corrections)
        return vocode_all(
            self.loaded,
            [np.asarray(mel, np.float32) for mel in mels],
            pick_seed(seed),
            labels=labels,
            temperature=to_envelope(temperature),
            backend=self.backend_for(len(mels), min_p, "the number of inputs"),
            corrections=corrections,
        )

    def vocode_stream(
        self,
        frames: "Iterable[Wave]",
        *,
        seed: int | None = None,
        temperature: float | str | Envelope = 1.0,
        min_p: float = 0.0,
        label: str | None = None,
        corrections: int = 10,
    ) -> "Iterator[Wave]":
        """Yield the sound of each frame as soon as the frames that it depends on have arrived.

        Returns:
            An iterator of float32 arrays, one hop each. Arguments are checked at once.
        """
        from samplewise.generate.class_conditioning import class_index
        from samplewise.generate.uniforms import check_numbers, pick_seed
        from samplewise.generate.vocoder import check_corrections, vocode

        check_corrections(self.loaded.model, corrections)
        class_index(self.loaded.model, label)
        seed = pick_seed(seed)
        check_numbers(seed, [0])
        return vocode(
            self.loaded,
            frames,
            seed,
            label=label,
            temperature=to_envelope(temperature),
            backend=self.backend_for(1, min_p),
            corrections=corrections,
        )

    def pruned(self, sparsity: float, block: str = "16x4", parts: str = "") -> "Model":
        """Return this model with the blocks of smallest mean magnitude of each matrix at zero.

        Args:
            sparsity: Share of the blocks, in [0, 1).
            block: Rows and columns of a block.
            parts: Only matrices whose name contains it, as in ``upsample``.

        Raises:
            ValueError: If the sparsity is out of range, or blocks do not fit the matrices.
        """
        from samplewise.config.training import parse_block
        from samplewise.models.pruning import prune_model, zero_share

        if not 0 <= sparsity < 1:
            raise ValueError(f"sparsity = {sparsity} must lie in [0, 1)")
        network = copy.deepcopy(self.loaded.model)
        prune_model(network, sparsity, parse_block(block), parts)
        network.fold()
        provenance = self.loaded.provenance | {"sparsity": zero_share(network)}
        loaded = replace(self.loaded, model=network, provenance=provenance)
        return Model(loaded, self.backend, self.max_memory)

    def export(
        self,
        path: str | Path,
        *,
        force: bool = False,
        half: bool = False,
        temperature: float | None = None,
        starts: int | None = None,
        name: str | None = None,
    ) -> None:
        """Write the model as one self-describing file; an existing exported model is replaced.

        Args:
            path: The file.
            force: Overwrite a file that is no exported model.
            half: Round weights to half precision: half the size.
            temperature: Default of :meth:`generate` with the file, in (0, 10]; None: the model's.
            starts: Excerpts of the training split that the file keeps, for clips to follow; None:
                all.
            name: Name of the model in the file. The corpus is then named without the folders that
                it lies in. None: as the model says.

        Raises:
            ValueError: If ``path`` is a folder, or another file and ``force`` is not given, or the
                temperature is out of range.
        """
        from samplewise.config.validation import check_at_least
        from samplewise.generate.clips import starts_of
        from samplewise.kinds import check_target
        from samplewise.models.io import is_model_file, save_model

        check_target(Path(path), force, is_ours=is_model_file)
        loaded = self.loaded
        provenance = dict(loaded.provenance)
        if temperature is not None:
            provenance["temperature"] = to_envelope(temperature).values[0]
        if starts is not None:
            check_at_least("starts", starts, 1)
            known = starts_of(loaded)
            if known is not None:
                provenance["starts"] = known.first(starts).to_json(loaded.model.q_levels)
        if name is not None:
            corpus = dict(provenance.get("corpus") or {})
            corpus["folder"] = Path(str(corpus.get("folder", ""))).name
            provenance |= {"name": name, "corpus": corpus}
        save_model(Path(path), loaded.model, loaded.audio, provenance, half)

    def backend_for(self, clips: int, min_p: float = 0.0, lower: str = "--batch") -> "Backend":
        """Return the back end, with threads and ``min_p``, that draws ``clips`` clips at once.

        Raises:
            ValueError: If they would take more than ``max_memory``; it says to lower ``lower``.
        """
        from samplewise.models.memory import check_batch

        check_batch(self.loaded.model.config, clips, self.max_memory, lower)
        return self.backend.for_clips(self.loaded.model, clips, min_p)
