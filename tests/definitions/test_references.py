import pytest

from zquant_flow.core.references import fault_of, is_reference, referenced_nodes, resolve
from zquant_flow.errors import ParamsError

SCOPE = {
    "params": {"symbol": "600519", "limits": [1, 2]},
    "nodes": {"days": {"result": {"rows": [{"day": "2026-01-05"}]}}, "text": {"result": "abc"}},
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["params", "symbol"], "600519"),
        (["params", "limits", 1], 2),
        (["params", "limits", "1"], 2),
        (["nodes", "days", "result", "rows", 0, "day"], "2026-01-05"),
        (["nodes", "days", "result"], {"rows": [{"day": "2026-01-05"}]}),
    ],
)
def test_a_reference_becomes_what_it_points_at(path, value):
    assert resolve({"$ref": path}, SCOPE) == value


def test_references_are_found_at_any_depth_and_the_rest_stays():
    value = {
        "a": [{"$ref": ["params", "symbol"]}, {"b": {"$ref": ["nodes", "days", "result", "rows"]}}],
        "c": 1,
    }
    assert resolve(value, SCOPE) == {"a": ["600519", {"b": [{"day": "2026-01-05"}]}], "c": 1}
    assert referenced_nodes(value) == {"days"}


def test_a_mapping_with_other_keys_beside_ref_is_plain_data():
    value = {"$ref": ["params", "symbol"], "other": 1}
    assert not is_reference(value)
    assert resolve(value, SCOPE) == value


@pytest.mark.parametrize(
    ("path", "named"),
    [
        (["params", "symbl"], r"params\.symbl: there is no 'symbl' \(there is: limits, symbol\)"),
        (["params", "limits", 7], "no item 7 in a list of 2"),
        (["nodes", "text", "result", 0], "can't be taken from str"),
        (["nodes", "gone", "result"], "there is no 'gone'"),
    ],
)
def test_a_path_that_leads_nowhere_is_named(path, named):
    with pytest.raises(ParamsError, match=named):
        resolve({"$ref": path}, SCOPE)


@pytest.mark.parametrize(
    "path", [[], ["params"], ["nodes", "a"], ["nodes", "a", "status"], ["env", "HOME"], [1, 2]]
)
def test_only_params_and_results_can_be_referred_to(path):
    assert fault_of(path) is not None


def test_good_references_have_no_fault():
    assert fault_of(["params", "x"]) is None
    assert fault_of(["nodes", "a", "result", "rows", 0]) is None
