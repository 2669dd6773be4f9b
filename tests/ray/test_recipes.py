"""The recipe for Ray's launcher is one that Ray reads."""

from __future__ import annotations

import pytest
import yaml

from fnkd_core.paths import project_dir

pytestmark = pytest.mark.ray


def test_the_launcher_reads_the_file_and_refuses_a_key_that_it_does_not_know() -> None:
    pytest.importorskip("ray", reason="`make test-ray` brings it")
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = yaml.safe_load((project_dir() / "docs" / "cluster" / "ray.yaml").read_text())
    filled = prepare_config(config)
    validate_config(filled)
    assert filled["available_node_types"]["local.cluster.node"]["max_workers"] == len(config["provider"]["worker_ips"])
    with pytest.raises(Exception, match="'max_worker' was unexpected"):
        validate_config(filled | {"max_worker": 2})
