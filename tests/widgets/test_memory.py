"""A notebook that is run again and again holds no more than after the first time."""

import os
from pathlib import Path

import pytest
from jupyter_client.manager import start_new_kernel

CELLS = {
    "imports": "from mrcnn_steps import load_model, sample, trace\n"
    "from mrcnn_widgets import PipelineDebugger, ProposalExplorer\n"
    "model = load_model('tiny')",
    "trace": "t = trace(model, sample('voc_people'))",
    "explorer": "ProposalExplorer(t)",
    "debugger": "debugger = PipelineDebugger(t, stage='detection')\ndebugger",
    "step": "debugger.stage = 'masks'",
}


@pytest.fixture
def kernel():
    manager, client = start_new_kernel(env=os.environ | {"OMP_NUM_THREADS": "1"})
    client.pid = manager.provisioner.pid
    yield client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def run_all(kernel):
    """Runs the cells as JupyterLab does: every request names its cell."""
    for name, code in CELLS.items():
        content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False}
        request = kernel.session.msg("execute_request", content, metadata={"cellId": name})
        kernel.shell_channel.send(request)
        while (reply := kernel.get_shell_msg(timeout=60))["parent_header"]["msg_id"] != (
            request["header"]["msg_id"]
        ):
            pass
        assert reply["content"]["status"] == "ok", reply["content"]


def held(kernel):
    """What the kernel's process holds now, in MB."""
    status = Path(f"/proc/{kernel.pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="read from /proc, as Linux has")
def test_five_run_alls_hold_what_one_does(kernel):
    sizes = []
    for _ in range(5):
        run_all(kernel)
        sizes.append(held(kernel))
    assert sizes[-1] < 1.1 * sizes[0], sizes
