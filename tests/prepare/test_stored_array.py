"""Stored arrays: a damaged file has no values."""

import numpy as np
import pytest

from dsn_lightning.prepare.stored_array import open_array

VALUES = np.arange(6, dtype=np.float32).reshape(3, 2)


@pytest.mark.parametrize(
    ("written", "damaged", "reason"),
    [
        (b"(3, 2)", b"(3t, 2", "the file is damaged"),
        (b"(3, 2)", b"(3, 2(", "the file is damaged"),
        (b"(3, 2)", b"(6, 2)", "the file is damaged"),
        (b"(3, 2)", b"(2, 3)", r"expected float32 \(3, 2\) in C order, got float32 \(2, 3\)"),
        (b"<f4", b">f4", r"expected float32 \(3, 2\) in C order, got >f4 \(3, 2\)"),
        (b"'fortran_order': False", b"'fortran_order': True ", r"in C order, got float32 \(3, 2\)"),
    ],
)
def test_a_damaged_header_is_named(written, damaged, reason, tmp_path):
    file = tmp_path / "values.npy"
    np.save(file, VALUES)
    assert np.array_equal(open_array(file, shape=(3, 2), dtype=np.float32), VALUES)
    content = file.read_bytes()
    assert written in content
    file.write_bytes(content.replace(written, damaged))
    with pytest.raises(ValueError, match=reason):
        open_array(file, shape=(3, 2), dtype=np.float32)
    file.write_bytes(b"")
    with pytest.raises(ValueError, match="the file is damaged"):
        open_array(file, shape=(3, 2), dtype=np.float32)
