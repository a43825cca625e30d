"""Draws, dead workers, repeats and races."""

from dataclasses import replace

import pytest
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from samplewise.config.codec import with_fields
from samplewise.errors import SamplewiseError
from samplewise.search import trial_queue as queue_module
from samplewise.search.liveness import Heartbeat, Liveness, is_alive
from samplewise.search.storage import JOURNAL, open_study
from samplewise.search.trial import suggest
from samplewise.search.trial_queue import (
    MAX_KILLS,
    RETRY,
    WORKER,
    TrialQueue,
    by_draw,
    draw_of,
    needs_repeat,
)


@pytest.fixture
def liveness(search):
    with Liveness(search.folder) as here:
        yield here


@pytest.fixture
def queue(study, search, liveness):
    return TrialQueue(study(), search, liveness)


def dead(search):
    """The card of a worker that is no longer there."""
    with Liveness(search.folder) as gone:
        return gone.card


def params(study, search, trials):
    """Draw so many configurations with a study."""
    found = []
    for _ in range(trials):
        trial = study.ask()
        found.append(suggest(trial, search))
        study.tell(trial, 1.0)
    return found


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_the_seed_decides_the_configurations(search, corpus, tmp_path, sampler):
    found = {}
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        one = replace(search, folder=tmp_path / name, seed=seed, sampler=sampler)
        found[name] = params(open_study(one, corpus.digest), one, 14)
    assert found["a"] == found["b"]
    assert all(x != y for x, y in zip(found["a"], found["c"], strict=True))
    assert len({str(values) for values in found["a"]}) == 14
    assert {values["model.n_rnn"] for values in found["a"] if "model.skip" in values} == {2}
    assert all("model.skip" in values for values in found["a"] if values["model.n_rnn"] == 2)


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_kills_change_no_configuration(search, corpus, tmp_path, liveness, sampler):
    """Every third worker dies after drawing; the next one opens the study anew."""
    whole = replace(search, folder=tmp_path / "whole", sampler=sampler, trials=14)
    parts = replace(whole, folder=search.folder)
    done = {}
    for start in range(30):
        one = open_study(parts, corpus.digest)
        queue = TrialQueue(one, parts, liveness)
        queue.requeue()
        trial = queue.next_trial()
        if trial is None:
            break
        values = suggest(trial, parts)
        if start % 3 == 1:
            trial.set_user_attr(WORKER, dead(parts))
        else:
            trials = one.get_trials()
            done[draw_of(trials[trial.number], trials)] = values
            one.tell(trial, values["learning_rate"])
    one, expected = open_study(whole, corpus.digest), []
    for _ in range(14):
        trial = one.ask()
        expected.append(suggest(trial, whole))
        one.tell(trial, expected[-1]["learning_rate"])
    assert done == dict(enumerate(expected))


def test_a_random_value_does_not_depend_on_the_other_parameters(search, corpus, tmp_path):
    fewer = {name: search.space[name] for name in ("model.frame_sizes", "learning_rate")}
    less = replace(search, folder=tmp_path / "less", space=fewer)
    whole = params(open_study(search, corpus.digest), search, 6)
    part = params(open_study(less, corpus.digest), less, 6)
    assert [{name: values[name] for name in fewer} for values in whole] == part


def test_two_parameters_of_one_range_have_values_of_their_own(search, corpus):
    entry = search.space["learning_rate"]
    twins = replace(search, space={"learning_rate": entry, "epsilon": entry})
    drawn = params(open_study(twins, corpus.digest), twins, 6)
    assert all(values["learning_rate"] != values["epsilon"] for values in drawn)


def test_the_draw_of_a_trial_counts_all_before_it_but_retries(study):
    one = study()
    for _ in range(2):
        one.ask()
    one.enqueue_trial({}, user_attrs={"draw": 0, RETRY: 0})
    one.enqueue_trial({}, user_attrs={"draw": 1, RETRY: 1})
    for _ in range(3):
        one.ask()
    trials = one.get_trials()
    assert [draw_of(trial, trials) for trial in trials] == [0, 1, 0, 1, 2]
    assert {draw: len(found) for draw, found in by_draw(trials).items()} == {0: 2, 1: 2, 2: 1}


def test_a_dead_workers_trial_is_failed_and_its_values_are_tried_again(queue, study, search):
    one = study()
    trial = one.ask()
    trial.set_user_attr(WORKER, dead(search))
    values = suggest(trial, search)
    queue.requeue()
    queue.requeue()  # once more does nothing more
    trials = one.get_trials()
    assert [t.state for t in trials] == [TrialState.FAIL, TrialState.WAITING]
    again = queue.next_trial()
    assert again.number == 1
    assert again.user_attrs[RETRY] == 0
    assert suggest(again, search) == values


@pytest.mark.parametrize("known", [0, 2])
def test_values_that_were_not_drawn_yet_come_out_the_same(queue, study, search, known):
    whole = params(open_study(replace(search, folder=search.folder / "other"), ""), search, 1)
    one = study()
    trial = one.ask()
    trial.set_user_attr(WORKER, dead(search))
    suggest(trial, replace(search, space=dict(list(search.space.items())[:known])))
    queue.requeue()
    assert [suggest(queue.next_trial(), search)] == whole


def test_a_living_workers_trial_is_left_alone(queue, study, search):
    one = study()
    trial = one.ask()
    with Liveness(search.folder) as other:
        trial.set_user_attr(WORKER, other.card)
        queue.requeue()
        assert one.get_trials()[0].state == TrialState.RUNNING
        assert queue.is_settled()
        assert is_alive(other.card)
    assert is_alive(other.card) is False


def test_a_worker_on_another_machine_is_dead_when_its_heartbeats_stop(
    queue, study, monkeypatch, liveness
):
    now = [0.0]
    monkeypatch.setattr(queue_module.time, "monotonic", lambda: now[0])
    one = study()
    trial = one.ask()
    trial.set_user_attr(WORKER, liveness.card | {"host": "elsewhere"})
    queue.requeue()
    assert not queue.is_settled()  # not known yet
    for beat in (1, 2):
        trial.set_user_attr("beat", beat)
        now[0] += queue_module.GRACE_S - 1
        queue.requeue()
    assert queue.is_settled()
    now[0] += queue_module.GRACE_S - 1
    queue.requeue()
    assert one.get_trials()[0].state == TrialState.RUNNING
    now[0] += 2
    queue.requeue()
    assert one.get_trials()[0].state == TrialState.FAIL


def test_a_trial_without_a_worker_is_dead_after_a_moment(queue, study, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(queue_module.time, "monotonic", lambda: now[0])
    study().ask()
    for seconds, state in ((0.0, "RUNNING"), (queue_module.UNOWNED_S + 1, "FAIL")):
        now[0] = seconds
        queue.requeue()
        assert study().get_trials()[0].state.name == state


def test_a_configuration_that_kills_its_workers_is_given_up(queue, study, search):
    for _ in range(MAX_KILLS):
        trial = queue.next_trial()
        trial.set_user_attr(WORKER, dead(search))
        queue.requeue()
    trials = study().get_trials()
    assert [trial.state.name for trial in trials] == ["FAIL"] * MAX_KILLS
    assert not needs_repeat(trials)
    assert draw_of(queue.next_trial()._cached_frozen_trial, study().get_trials()) == 1


def test_a_superfluous_repeat_is_handed_back(queue, study, search, liveness):
    one = study()
    first = one.ask()
    first.set_user_attr(WORKER, dead(search))
    for _ in range(2):  # two workers saw the same death
        one.enqueue_trial({}, user_attrs={"draw": 0, RETRY: 0})
    one.tell(0, state=TrialState.FAIL)
    kept = queue.next_trial()
    assert kept.number == 1
    last = TrialQueue(study(), replace(search, trials=1), liveness).next_trial()
    assert last is None
    outcomes = [trial.user_attrs.get("outcome") for trial in one.get_trials()]
    assert outcomes == [None, None, "returned"]
    one.tell(1, 1.0)
    queue.requeue()
    assert len(one.get_trials()) == 3  # the draw is done: nothing is queued again


def test_more_workers_than_draws_draw_no_more(study, search, liveness, monkeypatch):
    few = replace(search, trials=2)
    workers = [TrialQueue(study(), few, liveness) for _ in range(2)]
    assert workers[0].next_trial().number == 0
    # The other worker looks before the first one has drawn again, and draws after it.
    behind = workers[1]._study
    real = behind.get_trials
    stale = iter([real()])
    monkeypatch.setattr(behind, "get_trials", lambda **options: next(stale, None) or real())
    assert workers[0].next_trial().number == 1
    assert workers[1].next_trial() is None
    assert [trial.user_attrs.get("outcome") for trial in real()] == [None, None, "returned"]
    # With more to do, the draw that was handed back is the next.
    more = TrialQueue(study(), replace(search, trials=3), liveness)
    more.requeue()
    again = more.next_trial()
    assert (again.number, again.user_attrs["draw"]) == (3, 2)


def test_a_torn_line_of_the_journal_is_cut_off(search, study):
    one = study()
    one.tell(one.ask(), 2.0)
    path = search.folder / JOURNAL
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"op_code":4,"worker')
    again = study()
    assert path.read_bytes().startswith(whole + b"{")
    assert again.best_value == 2.0
    again.tell(again.ask(), 1.0)
    assert [trial.value for trial in study().get_trials()] == [2.0, 1.0]


def test_other_settings_are_another_search(search, corpus, study):
    study()
    other = replace(search, seed=1, base=with_fields(search.base, steps=5))
    with pytest.raises(
        SamplewiseError, match=r"settings \(seed of the search was 0, now 1; steps was 4, now 5"
    ):
        open_study(other, corpus.digest)
    with pytest.raises(SamplewiseError, match="corpus was "):
        open_study(search, "another")
    open_study(replace(search, trials=9, prune="median"), corpus.digest)  # may be changed


def test_a_field_that_an_older_study_lacks_has_its_default(search, corpus, study):
    identity = study().user_attrs["identity"]
    older = {name: value for name, value in identity.items() if name != "epsilon"}
    study().set_user_attr("identity", older)
    study()
    other = replace(search, base=with_fields(search.base, epsilon=0.5))
    with pytest.raises(SamplewiseError, match=r"settings \(epsilon was 1e-08, now 0.5\)"):
        open_study(other, corpus.digest)


def test_a_search_over_the_older_mulaw_is_another_search(search):
    assert "definition of mulaw" not in search.identity("")
    assert "definition of mulaw" in replace(search, fixed={"model.quantizer": "mulaw"}).identity("")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "storage is no URL of a database; examples: sqlite:///study.db"),
        ("sqlite:////nowhere/at/all.db", "cannot open storage = sqlite:////nowhere/at/all.db: "),
        ("postgresql://me:secret@127.0.0.1:1/x", r"psycopg://me:\*\*\*@127.0.0.1:1/x: connection"),
        ("oracledb://x", "cannot open storage = oracledb://x: Can't load plugin"),
    ],
)
def test_a_storage_that_cannot_be_opened_is_explained(search, corpus, url, message, monkeypatch):
    monkeypatch.setattr("samplewise.search.storage.ATTEMPTS", 1)
    with pytest.raises(SamplewiseError, match=message) as caught:
        open_study(replace(search, storage=url), corpus.digest)
    assert "secret" not in str(caught.value)


def test_heartbeats_go_on_after_an_error_and_end_with_the_trial(study, monkeypatch):
    monkeypatch.setattr("samplewise.search.liveness.BEAT_S", 0.001)
    trial, counts = study().ask(), []

    def set_user_attr(name, count):
        counts.append(count)
        if count == 1:
            raise OSError("out of reach")
        if count == 3:
            raise UpdateFinishedTrialError

    monkeypatch.setattr(trial, "set_user_attr", set_user_attr)
    with Heartbeat(trial) as heartbeat:
        heartbeat.join(timeout=10)
    assert heartbeat.lost
    assert counts == [1, 2, 3]


def test_lock_files_of_dead_workers_are_removed_when_no_trial_needs_them(search, study, liveness):
    gone, needed = dead(search), dead(search)
    trial = study().ask()
    trial.set_user_attr(WORKER, needed)
    TrialQueue(study(), search, liveness).requeue()
    left = {path.name for path in (search.folder / "workers").iterdir()}
    assert left == {needed["id"], liveness.id}
    assert gone["id"] not in left
