"""The stages of one training, made ready together and run one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from teacherlm.core.errors import Mistake
from teacherlm.core.files import read_json, write_json
from teacherlm.core.keys import digest
from teacherlm.train import outputs
from teacherlm.train.batches import Batches
from teacherlm.train.card import worse
from teacherlm.train.encode import Encoder
from teacherlm.train.metrics import Line
from teacherlm.train.model import Source, load_model, source_of
from teacherlm.train.packing import forward_inputs, packs
from teacherlm.train.processes import count, first_then_others
from teacherlm.train.progress import Progress
from teacherlm.train.records import fingerprint
from teacherlm.train.request import (
    WORK,
    Pending,
    Request,
    Trained,
    chosen,
    declared_settings,
    placed,
    same,
    stage_place,
    start_of,
)
from teacherlm.train.settings import DATA
from teacherlm.train.stage import Job, run_stage
from teacherlm.train.texts import all_texts, prepare
from teacherlm.train.tokenizers import train_tokenizer


class Stages:
    """What the stages of one run share: the base, the tokenizer, and whether rows are packed."""

    def __init__(self, request: Request, watch: Callable[[Progress], None], tell: Callable[[str], None]) -> None:
        self._request, self._watch, self._tell = request, watch, tell
        self._work = request.folder / WORK
        self._records: dict[str, dict[str, Any]] = {}
        self._settings: dict[str, dict[str, Any]] = {}
        self._model: Any = None
        self._packed = False

    @cached_property
    def _source(self) -> Source:
        request = self._request
        return source_of(request.training.base, request.find_trained, request.where)

    def pending(self, done: Trained) -> list[Pending]:
        """The stages that are not finished, all of them in a restart; the others are noted in `done`.

        Raises:
            Mistake: a stage that is finished was declared otherwise, or one to start from is not there.
        """
        request = self._request
        found: list[Pending] = []
        wanted = chosen(request)
        for number, stage in enumerate(request.training.stages, start=1):
            place, start = stage_place(request, stage), start_of(request, stage)
            with placed(request, place):
                before = self._settings[start] if start is not None else None
                settings = declared_settings(request, stage, self._source, before, self._tokenizer_fingerprint)
            self._settings[stage.name] = settings
            for folder in (request.folder, request.finished):
                if folder is not None and stage.name not in self._records:
                    record = outputs.output_of(folder / stage.name, request.training.name, stage.name, request.where)
                    if record is not None:
                        self._records[stage.name] = record
            if stage not in wanted:
                continue
            record = self._records.get(stage.name)
            if record is not None and request.max_steps is None and not request.restart:
                same(request, record, settings, place)
                done.stages.append({**record, "already": True})
                continue
            self._records.pop(stage.name, None)
            if start is not None and start not in self._records and start not in [one.stage.name for one in found]:
                raise Mistake(
                    f"stage `{stage.name}` starts from `{start}`, which is not trained yet",
                    f"train it first: --stages {start}",
                    place,
                )
            found.append(Pending(stage, number, place, start, settings))
        return found

    def ready(self, pending: list[Pending]) -> None:
        """Load the first model and prepare the data of all stages, so that what is wrong is known now."""
        request, training = self._request, self._request.training
        self._model = self._load(pending[0])
        self._packed = training.packing and packs(self._model)
        if training.packing and not self._packed:
            self._tell("this model sees through the borders of packed texts: rows are single texts of like length")
        for one in pending:
            with placed(request, one.place):
                one.prepared = first_then_others(lambda one=one: self._prepared(one))  # type: ignore[misc]
                one.settings[DATA] = one.prepared.fingerprint
                one.batches = Batches(
                    one.prepared,
                    one.stage,
                    packing=self._packed,
                    window=training.window,
                    device_tokens=training.device_tokens,
                    devices=count(),
                    seed=training.seed,
                    loss=one.stage.loss,
                )

    def run(self, one: Pending) -> dict[str, Any]:
        """Run a stage and put its end where it belongs; its record."""
        request = self._request
        model = self._model if self._model is not None else self._load(one)
        self._model = None
        packed = self._packed
        job = Job(
            training=request.training,
            stage=one.stage,
            model=model,
            batches=one.batches,
            inputs_of=lambda batch: forward_inputs(model, batch, packed=packed),
            settings=one.settings,
            work=self._work / one.stage.name,
            where=request.where,
            place=one.place,
        )
        parameters = sum(parameter.numel() for parameter in model.parameters())
        ended = run_stage(job, lambda line: self._watch(self._progress(one, line)), request.max_steps)
        record = outputs.save(
            job,
            ended,
            request.folder / one.stage.name,
            self._tokenizer,
            data=one.prepared.counts,
            base=self._source.identity,
            before=self._before(one),
            declaration=request.declaration,
            parameters=parameters,
        )
        self._records[one.stage.name] = record
        if record and (told := worse(record)):
            self._tell(f"warning: {told}; lower it and train anew: --stages {one.stage.name} --restart")
        return {**record, "already": False}

    def _load(self, one: Pending) -> Any:
        request = self._request
        if one.start is None:
            return load_model(request.training, self._source, self._tokenizer, request.where)
        folder = self._stage_folder(one.start)
        source = Source(str(folder), None, {})
        return load_model(request.training, source, self._tokenizer, request.where)

    def _stage_folder(self, name: str) -> Path:
        here = self._request.folder / name
        return here if here.exists() or self._request.finished is None else self._request.finished / name

    def _prepared(self, one: Pending) -> Any:
        request = self._request
        return prepare(
            one.stage,
            request.training,
            self._tokenizer,
            request.open_records,
            self._work / "data",
            self._tell,
            layouts=request.layouts,
        )

    @cached_property
    def _tokenizer(self) -> Any:
        """The declared tokenizer, the base's own, or the one that is trained once.

        Raises:
            Mistake: there is none, or it cannot be loaded.
        """
        from transformers import AutoTokenizer

        request = self._request
        spec, base = request.training.tokenizer, self._source
        if spec is not None and spec.vocabulary is not None:
            place, revision = str(first_then_others(self._trained_tokenizer)), None
        elif spec is not None:
            place, revision = str(spec.model), None
        elif base.place is not None:
            place, revision = base.place, base.revision
        else:
            raise Mistake(
                "a model that is drawn from a `config` has no tokenizer of its own",
                "add  tokenizer: {vocabulary: 1024}  or  tokenizer: {model: ORG/NAME}",
                request.where(("base", "config")),
            )
        try:
            return AutoTokenizer.from_pretrained(place, revision=revision)
        except (OSError, ValueError, KeyError, ImportError) as error:
            reason = " ".join(str(error).split())[:300]
            raise Mistake(
                f"the tokenizer of {place} cannot be loaded: {reason}",
                "name a folder or Hub id that has one",
                request.where(("tokenizer",)),
            ) from error

    @cached_property
    def _tokenizer_fingerprint(self) -> str:
        with placed(self._request, self._request.where(("tokenizer",))):
            return Encoder(self._tokenizer).fingerprint[:16]

    def _trained_tokenizer(self) -> Path:
        """The folder of the tokenizer that is trained on the texts of all stages; there already, or made now."""
        request, training = self._request, self._request.training
        assert training.tokenizer is not None
        spec = training.tokenizer
        asked = [
            [spec.vocabulary, spec.whole_numbers, training.window, training.seed],
            [
                [fingerprint(data, request.open_records), list(data.layouts), data.fallback, data.where, data.at_most]
                for stage in training.stages
                for data in stage.data
            ],
            {name: layout.prompt + layout.response for name, layout in request.layouts.items()},
        ]
        key, folder = digest(asked), self._work / "tokenizer"
        if read_json(folder / "key.json") == key:
            return folder
        self._tell("training a tokenizer on the texts of all stages")
        with placed(request, request.where(("tokenizer",))):
            texts = all_texts(training, request.open_records, request.layouts)
            trained = train_tokenizer(spec, texts)
        trained.save_pretrained(folder)
        write_json(folder / "key.json", key)
        return folder

    def _before(self, one: Pending) -> list[Mapping[str, Any]]:
        chain: list[Mapping[str, Any]] = []
        name = one.start
        while name is not None:
            chain.insert(0, self._records[name])
            stage = next(stage for stage in self._request.training.stages if stage.name == name)
            name = start_of(self._request, stage)
        return chain

    def _progress(self, one: Pending, line: Line) -> Progress:
        left = one.batches.tokens - line.tokens
        rate = line.tokens_per_second
        return Progress(
            training=self._request.training.name,
            stage=one.stage.name,
            number=one.number,
            stages=len(self._request.training.stages),
            step=line.step,
            steps=one.batches.steps,
            tokens=line.tokens,
            tokens_in_all=one.batches.tokens,
            loss=line.loss,
            learning_rate=line.learning_rate,
            tokens_per_second=rate,
            seconds=line.seconds,
            seconds_left=round(left / rate, 1) if rate else None,
        )
