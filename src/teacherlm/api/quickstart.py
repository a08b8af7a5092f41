"""The paper in miniature: questions, a teacher that explains them, rules, a publication, two students, one page.

Each step is one of the project's own; a step whose inputs have not changed since the last run is not done again.
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from teacherlm import __version__
from teacherlm.api.quickstart_declared import FOLDER, TEST, TRAIN, read_declared, sized
from teacherlm.api.quickstart_examples import choose_examples
from teacherlm.api.quickstart_explained import exactness, judged, make_questions, read_texts
from teacherlm.api.quickstart_figures import Figures, Machine, Size, Teacher
from teacherlm.api.quickstart_page import quickstart_page
from teacherlm.api.quickstart_scores import differences, scores
from teacherlm.api.quickstart_steps import Audience, Steps
from teacherlm.api.quickstart_students import parameters_of
from teacherlm.core.errors import MissingExtra, Mistake
from teacherlm.core.files import replacing, write_text
from teacherlm.core.stored import to_json

NEEDED = ("torch", "transformers", "accelerate", "tokenizers", "starlette", "uvicorn")
"""Of the extra `local`."""

PAGE, FIGURES, PUBLISHED = "index.html", "figures.json", "published"


@dataclass(frozen=True)
class Quickstarted:
    """What a run left."""

    figures: Figures
    page: Path
    published: Path


def quickstart(
    workspace: Path,
    to: Path | None,
    audience: Audience,
    *,
    questions: int | None = None,
    steps: int | None = None,
    from_scratch: bool = False,
) -> Quickstarted:
    """Run all steps, and write the page and the figures into the workspace.

    Args:
        to: the folder to publish to; None: `quickstart/published` in the workspace.
        questions: explained by the teacher and read by the students; None: as declared. With another number all lands
            in a workspace below this one.
        steps: of each training at most; None: as declared.
        from_scratch: train the teacher too, by a declaration shorter than that of the shipped one.

    Raises:
        MissingExtra: torch or transformers is not installed; nothing was run.
        Mistake, Mistakes: something that is given or declared is wrong; nothing was run.
        GateFailed, RemoteFailed, MachineFailed: as the steps raise them.
        Stopped, KeyboardInterrupt: it was interrupted; the same call goes on.
    """
    if any(find_spec(name) is None for name in NEEDED):
        raise MissingExtra("the quickstart", "local")
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    if steps is not None and steps < 1:
        raise Mistake(f"is {steps}", "give a number of 1 or more", "--steps")
    shipped = read_declared()
    declared = sized(shipped, questions)
    if declared.questions != shipped.questions:
        # Texts about questions that are gone would be judged too: each size has a workspace of its own.
        workspace = workspace / f"{FOLDER}-{declared.questions}"
    folder = workspace / FOLDER
    to = folder / PUBLISHED if to is None else to
    run = Steps(declared, workspace, to, audience)
    if from_scratch:
        run.teach(steps)
    run.explain()
    run.check_and_publish()
    made = make_questions(run.project, declared)
    control = run.guess(made)
    students = run.train(steps)
    answers = run.test(made, steps)
    with run.step("page", "figures, sentences and examples as one file") as doing:
        shown = read_texts(run.project, declared, TEST, made.test)
        texts = read_texts(run.project, declared, TRAIN, made.train) | shown
        figures = Figures(
            size=Size(
                questions=declared.questions,
                questions_declared=shipped.questions,
                test=declared.test,
                test_seed=declared.seed,
                steps=steps,
                families=made.families,
            ),
            machine=Machine(
                cores=os.cpu_count() or 1,
                python=platform.python_version(),
                torch=torch.__version__,
                teacherlm=__version__,
            ),
            teacher=Teacher(
                name=declared.teacher,
                trained_here=from_scratch,
                declaration=declared.teacher_training if from_scratch else None,
                parameters=parameters_of(run.teacher),
                texts=sum(len(of) for of in texts.values()),
                asked_now=run.asked,
                texts_per_second=run.rate,
                exactness=exactness(texts, {**made.train, **made.test}, made.families),
            ),
            judged=judged(texts),
            control=control,
            students=students,
            scores=scores(answers, made.test, made.families),
            differences=differences(answers, made.test, declared.seed),
            steps=tuple(run.journal.steps),
            examples=choose_examples(made.test, shown, answers, declared.examples),
            published_to=str(to),
            published_rows=run.published_rows,
        )
        write_text(folder / FIGURES, to_json(figures).decode())
        with replacing(folder / PAGE) as temporary:
            temporary.write_bytes(quickstart_page(figures))
        doing.did = str(folder / PAGE)
    return Quickstarted(figures, folder / PAGE, to)
