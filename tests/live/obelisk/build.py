"""Makes the components of the live tests from their text: ``pip install wasmtime``, then run this. What it makes is committed."""

from pathlib import Path

from wasmtime import wat2wasm

HERE = Path(__file__).parent
workflow = (HERE / "workflow.wat").read_text()
diverging = "\n".join(line for line in workflow.splitlines() if not line.endswith(";; STEADY"))
for name, text in (("workflow", workflow), ("diverging", diverging), ("outer", (HERE / "outer.wat").read_text())):
    (HERE / f"{name}.wasm").write_bytes(bytes(wat2wasm(text)))
