"""A project and its workspace, with a method for each step from source to publication."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Unpack

from teacherlm.api import augment as augmenting
from teacherlm.api import check as checking
from teacherlm.api import explain as explaining
from teacherlm.api import plan as planning
from teacherlm.api import publish as publishing
from teacherlm.api import status as looking
from teacherlm.api.listening import listening
from teacherlm.api.looks import Looks
from teacherlm.api.options import AugmentOptions, PlanOptions
from teacherlm.api.orders import make_orders
from teacherlm.api.progress_judge import project_rules
from teacherlm.api.workspace import Workspace
from teacherlm.builders import build as building
from teacherlm.builders.mapping import run_examples
from teacherlm.builders.sources import open_source
from teacherlm.core.errors import Mistake, Mistakes
from teacherlm.project.find import find_project, workspace_path
from teacherlm.teacher.budget import Budget

if TYPE_CHECKING:
    from teacherlm.api.collections import OpenCollection
    from teacherlm.api.evaluate import Evaluated, EvaluateOptions
    from teacherlm.api.plan_train import TrainPlanOptions
    from teacherlm.api.train import TrainOptions
    from teacherlm.hub.published import Published
    from teacherlm.quality.report import Report
    from teacherlm.train.plan import TrainPlan
    from teacherlm.train.request import Trained

PAPER = "paper"
"""The prompts of a teacher that names none."""


def _silent(_: str) -> None:
    pass


class Run(NamedTuple):
    """What each step of a run did."""

    built: building.Built
    augmented: augmenting.Augmented
    report: Report | None
    published: Published | None


@dataclass(frozen=True)
class Project(Looks):
    """What is declared in a directory, and the workspace where it lands.

    >>> project = teacherlm.open(".")  # doctest: +SKIP
    >>> project.run("creak", teacher="http://127.0.0.1:8080", to="published")  # doctest: +SKIP
    >>> project.sql("SELECT kind, count(*) FROM rationales GROUP BY kind").pl()  # doctest: +SKIP
    """

    def collection(self, name: str) -> OpenCollection:
        """A collection of `catalog.yaml`, with a workspace of its own.

        Raises:
            Mistake, Mistakes: there is none; all that is wrong in its declaration and in the recipes.
        """
        from teacherlm.api.collections import open_collection

        return open_collection(self, name)

    def plan(self, name: str, **asked: Unpack[PlanOptions]) -> planning.Plan:
        """What a build and an augmentation would do and cost; with `probe` from answers, which stay in the ledger.

        Without it a teacher is asked for its limits and token counts alone. Args: see `api.options.PlanOptions`.
        """
        return planning.plan_dataset(self, name, **asked)

    def plan_train(self, name: str, **asked: Unpack[TrainPlanOptions]) -> TrainPlan:
        """What a training would read, hold and take; see `api.plan_train.plan_train`."""
        from teacherlm.api.plan_train import plan_train

        return plan_train(self, name, **asked)

    def build(
        self,
        name: str,
        *,
        source: str | Path | None = None,
        split: str | None = None,
        force: bool = False,
        tell: Callable[[str], None] = _silent,
    ) -> building.Built:
        """Make the samples of a dataset; nothing is done where nothing has changed.

        Args:
            source: local rows in place of the declared source.
            split: the split that a single file is.

        Raises:
            Mistakes: the recipe does not fit itself or its source.
        """
        bound = self.recipe(name)
        if problems := run_examples(bound):
            raise Mistakes(problems)
        opened = open_source(
            bound.recipe, bound.located.path.parent, source=Path(source) if source else None, split=split
        )
        with self.workspace.locked(name):
            return building.build(bound, opened, self.workspace.samples(name), force=force, tell=tell)

    def augment(
        self,
        name: str,
        *,
        teacher: str | None = None,
        kinds: Sequence[str] | None = None,
        limit: int | None = None,
        repeats: int = 1,
        strategy: str | None = None,
        concurrency: int | None = None,
        max_calls: int | None = None,
        max_tokens: int | None = None,
        budget: float | Budget | None = None,
        watch: Callable[[augmenting.Augmented], None] | None = None,
        estimate: bool = False,
        tell: Callable[[str], None] = _silent,
    ) -> augmenting.Augmented:
        """Ask a teacher, or one for each kind, what the ledger does not hold yet.

        Args:
            teacher: a URL, a profile of the catalogue, or `nano`.
            kinds: of the recipe's kinds those to ask for; None: all.
            limit: samples to ask about, in their order.
            repeats: texts of each kind for each sample, with `star` the most draws of a chain of thought; more than one
                need a teacher that samples.
            strategy: `explain` or `star`; None: the recipe's.
            concurrency: requests in flight; None: learnt from the teacher.
            max_calls, max_tokens, budget: requests, tokens and money that this run may take; then it stops, and
                `stopped_by` says so. A `Budget` is shared by several runs.
            watch: called a few times a second with the state of the run.
            estimate: judge some of the answers while they come: `judged` of the state tells how many would be accepted.
        """
        bound = self.recipe(name)
        chosen = self.teacher(teacher)
        if concurrency is not None and concurrency < 1:
            raise Mistake(f"is {concurrency}", "give a number of 1 or more, or auto", "--concurrency")
        orders = make_orders(
            bound,
            chosen,
            lambda teacher: self.prompts(bound, teacher),
            kinds=kinds,
            limit=limit,
            repeats=repeats,
            strategy=strategy,
        )
        spending = Budget.of(max_calls, max_tokens, budget)
        for order in orders:
            spending.share(order.teacher.name, order.teacher.profile)
        self.workspace.sample_files(name)
        with listening([order.teacher for order in orders], tell) as urls:
            return augmenting.augment(
                orders,
                self.workspace,
                chosen.name,
                urls,
                concurrency=concurrency,
                watch=watch,
                budget=spending,
                rules=project_rules(self.files, self.catalog) if estimate else None,
            )

    def check(
        self, name: str, *, only_if_stale: bool = False, against: Mapping[str, str | Path | None] | None = None
    ) -> Report:
        """Let the rules judge every rationale; write verdicts, the augmented table and the report.

        Args:
            only_if_stale: leave it where samples, rationales, rules and gates are those of the last check.
            against: evaluation sets to read first, by task: a file or folder, or None for the source of its recipe; see
                `read_evaluation_set`. Those that were read before are looked at as well.
        """
        for task, path in (against or {}).items():
            self.read_evaluation_set(task, path)
        bound = self.recipe(name)
        if only_if_stale and (report := checking.valid_report(self.files, self.catalog, self.workspace, bound)):
            return report
        return checking.check(self.files, self.catalog, self.workspace, bound)

    def run(
        self,
        name: str,
        *,
        source: str | Path | None = None,
        split: str | None = None,
        to: str | Path | None = None,
        tell: Callable[[str], None] = _silent,
        **asked: Unpack[AugmentOptions],
    ) -> Run:
        """Build, augment, check and, with `to`, publish: only what is stale or missing. See each for the arguments.

        An interruption, or a limit that is reached, ends the run after `augment`: the steps not reached are None.
        """
        built = self.build(name, source=source, split=split, tell=tell)
        augmented = self.augment(name, tell=tell, **asked)
        if augmented.stopped_by:
            return Run(built, augmented, None, None)
        report = self.check(name, only_if_stale=True)
        return Run(built, augmented, report, self.publish(name, to=to) if to is not None else None)

    def publish(self, *names: str, to: str | Path, **options: Unpack[publishing.PublishOptions]) -> Published:
        """Publish checked datasets to a folder or a repository; see `api.publish.PublishOptions`."""
        recipes = [self.recipe(name) for name in names]
        return publishing.publish(self.files, self.catalog, self.workspace, recipes, to, **options)

    def train(self, name: str, **asked: Unpack[TrainOptions]) -> Trained:
        """Run the stages of `train/<name>.yaml` that are not finished; see `api.train.train`."""
        from teacherlm.api.train import train

        return train(self, name, **asked)

    def evaluate(self, model: str, **asked: Unpack[EvaluateOptions]) -> Evaluated:
        """Ask a model the questions of benchmarks; see `api.evaluate.evaluate`."""
        from teacherlm.api.evaluate import evaluate

        return evaluate(self, model, **asked)

    def status(self, names: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """One row for each of the datasets `names`; None: for all that are declared or in the workspace."""
        return looking.status(self, names)

    def explain(
        self,
        sample_id: str,
        *,
        kind: str | None = None,
        teacher: str | None = None,
        tell: Callable[[str], None] = _silent,
    ) -> explaining.Explained:
        """Everything that is known of one row, and what has changed since it was asked; see `api.explain.explain`."""
        return explaining.explain(self, sample_id, kind=kind, teacher=teacher, tell=tell)


def open(path: str | Path = ".", *, workspace: str | Path | None = None) -> Project:
    """The project of a directory.

    Args:
        path: a directory; its nearest `catalog.yaml` upwards declares the project, else the bundled one is taken.
        workspace: where results land; else `$TEACHERLM_WORKSPACE`, else `./workspace`.
    """
    return Project(find_project(path), Workspace(workspace_path(workspace)))
