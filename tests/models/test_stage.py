import torch

from minuet.models.stage import Stage


def test_a_stage_calls_what_it_is_given_and_holds_nothing() -> None:
    stage = Stage()
    assert stage(torch.add, torch.ones(2), torch.ones(2), alpha=3).tolist() == [4.0, 4.0]
    assert not stage.state_dict() and not list(stage.parameters())
