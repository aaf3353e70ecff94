import mmap
import sys
import time
from pathlib import Path

import pytest

from minuet.benchmarks.memory import Memory, held, mapped_mib, peak_rss_mib, pss_mib, weigh

MIB = 1 << 20
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")


def test_peak_memory_holds_what_was_held() -> None:
    before = peak_rss_mib()
    assert before is not None
    held_ = bytearray(b"x") * (int(before + 64) << 20)
    after = peak_rss_mib()
    assert after is not None and after >= len(held_) / MIB


@linux
def test_a_peak_that_passes_while_it_works_is_seen() -> None:
    def work() -> None:
        rows = bytearray(b"x") * (200 * MIB)
        time.sleep(0.05)
        del rows

    before = pss_mib()
    found = weigh(work, ())
    after = pss_mib()
    assert before is not None and after is not None and found.peak_pss_mib is not None
    assert found.peak_pss_mib > before + 150
    assert after < before + 100
    assert found.peak_rss_mib is not None and found.peak_rss_mib >= found.peak_pss_mib - 1


@linux
def test_a_file_that_is_mapped_counts_and_one_that_is_read_does_not(tmp_path: Path) -> None:
    mapped, read = tmp_path / "a b.bin", tmp_path / "read.bin"
    for path in (mapped, read):
        path.write_bytes(bytes(3 * MIB))
    assert mapped_mib([mapped, read]) == 0
    with mapped.open("rb") as stream, mmap.mmap(stream.fileno(), 0, prot=mmap.PROT_READ) as first:
        assert len(first) == 3 * MIB and len(read.read_bytes()) == 3 * MIB
        assert mapped_mib([mapped, read]) == 3
        with mmap.mmap(stream.fileno(), 0, prot=mmap.PROT_READ):
            assert held([mapped]).mapped_mib == 3, "twice is no more of the file"
    assert mapped_mib([mapped]) == 0


def test_where_nothing_is_told_nothing_is_known(tmp_path: Path) -> None:
    nobody = tmp_path / "proc"
    assert held([tmp_path], nobody) == Memory()
    assert pss_mib(nobody) is None and mapped_mib([], nobody) is None


def test_another_process_is_read_by_its_own_files(tmp_path: Path) -> None:
    (tmp_path / "status").write_text("Name:\tx\nVmHWM:\t  20480 kB\n")
    (tmp_path / "smaps_rollup").write_text("00-ff ---p 0 00:00 0 [rollup]\nPss:   1024 kB\n")
    assert (peak_rss_mib(tmp_path), pss_mib(tmp_path)) == (20, 1)


def test_the_larger_of_each_is_kept() -> None:
    one = Memory(peak_rss_mib=5, mapped_mib=2)
    assert one.most(Memory(peak_rss_mib=3, peak_pss_mib=1, mapped_mib=4)) == Memory(
        peak_rss_mib=5, peak_pss_mib=1, mapped_mib=4
    )
