"""Downloads over the loopback that break, resume, lie and run out of disk; archives that would escape."""

import hashlib
import io
import os
import tarfile
import zipfile

import loopback
import numpy as np
import pytest
import rarfile

from lossybench.data import download
from lossybench.data.download import Remote
from lossybench.errors import LossyBenchError

CONTENT = np.random.default_rng(0).bytes(300_000)


def digest(content, algorithm="sha256"):
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"


@pytest.fixture
def served(tmp_path):
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "big.bin").write_bytes(CONTENT)
    with loopback.serve(folder) as server:
        yield server


@pytest.fixture(autouse=True)
def waits(monkeypatch):
    """Nobody waits; what would have been waited for, in seconds."""
    waited = []
    monkeypatch.setattr(download.time, "sleep", waited.append)
    return waited


def test_a_listing_is_read_whole_or_not_at_all():
    md5, sha256 = digest(b"a", "md5"), digest(b"a")
    listing = f"""
        https://one.org/a.zip 12 {sha256}
        {md5} by Somebody (of this place), Another
        http://two.org/b/c.txt
        http://two.org/d.tar {md5}
    """
    assert download.remotes(listing) == (
        Remote("https://one.org/a.zip", (sha256, md5), 12, "Somebody (of this place), Another"),
        Remote("http://two.org/b/c.txt"),
        Remote("http://two.org/d.tar", (md5,)),
    )
    for wrong in (
        listing.replace("md5:", "md4:"),
        listing.replace(sha256, sha256[:-1]),
        listing.replace(" 12 ", " 12B "),
    ):
        with pytest.raises(AssertionError):
            download.remotes(wrong)


def big(served, **more):
    return Remote(f"{served.address}/big.bin", **({"checksums": (digest(CONTENT),)} | more))


def test_what_is_there_is_never_downloaded_again(served, tmp_path):
    remote = big(served, checksums=(digest(CONTENT, "md5"), digest(CONTENT, "sha1"), digest(CONTENT).upper()))
    for _ in range(2):
        assert download.fetch(remote, tmp_path / "cache").read_bytes() == CONTENT
    assert served.asked == [None]
    assert not list((tmp_path / "cache").glob(".*.part"))


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256"])
def test_a_wrong_checksum_is_refused_and_nothing_kept(served, tmp_path, algorithm):
    wrong = digest(b"another", algorithm)
    with pytest.raises(LossyBenchError) as error:
        download.fetch(big(served, checksums=(digest(CONTENT), wrong)), tmp_path / "cache")
    for part in (f"{served.address}/big.bin", wrong.split(":")[1], digest(CONTENT, algorithm).split(":")[1]):
        assert part in str(error.value)
    assert not [path for path in (tmp_path / "cache").iterdir() if path.stat().st_size]


def test_a_broken_connection_is_resumed_at_once(served, tmp_path, waits):
    served.faults += [("cut", 100_000), ("cut", 100_000)]
    assert download.fetch(big(served), tmp_path / "cache").read_bytes() == CONTENT
    assert served.asked[0] is None
    assert [int(asked.removeprefix("bytes=").rstrip("-")) > 0 for asked in served.asked[1:]] == [True, True]
    assert waits == [1, 1]  # each try brought something new


def test_a_download_goes_on_where_an_earlier_run_stopped(served, tmp_path, waits):
    served.faults += [("cut", 100_000), *[503] * 9]
    with pytest.raises(LossyBenchError, match=r"failed 5 times in a row \(503.*run again to go on from byte 65536"):
        download.fetch(big(served), tmp_path / "cache")
    assert waits == [1, 2, 4, 8]
    served.faults.clear()
    served.requests.clear()
    assert download.fetch(big(served), tmp_path / "cache").read_bytes() == CONTENT
    assert served.asked == ["bytes=65536-"]


def test_a_server_without_ranges_gives_the_whole_file_again(served, tmp_path):
    served.ranges = False
    served.faults += [("cut", 100_000)]
    assert download.fetch(big(served), tmp_path / "cache").read_bytes() == CONTENT
    assert served.asked == [None, "bytes=65536-"]


def test_the_start_of_another_version_is_thrown_away(served, tmp_path):
    remote = big(served)
    for stale in (b"old" * 1000, b"old" * 200_000):  # shorter and longer than the file
        partial = tmp_path / "cache" / f".{remote.key}-big.bin.part"
        partial.parent.mkdir(exist_ok=True)
        partial.write_bytes(stale)
        target = download.fetch(remote, tmp_path / "cache")
        assert target.read_bytes() == CONTENT
        target.unlink()


def test_a_file_that_changes_under_way_is_started_over(served, tmp_path):
    newer = CONTENT[::-1]
    served.faults += [("cut", 100_000)]

    class Changing(list):
        def append(self, item):
            super().append(item)
            if len(self) == 2:
                (served.folder / "big.bin").write_bytes(newer)

    served.requests = Changing()
    assert download.fetch(big(served, checksums=()), tmp_path / "cache").read_bytes() == newer


def test_without_a_published_checksum_the_first_download_is_recorded(served, tmp_path, capfd):
    remote = big(served, checksums=())
    target = download.fetch(remote, tmp_path / "cache")
    assert digest(CONTENT).split(":")[1] in capfd.readouterr().out
    target.write_bytes(b"damaged")
    assert download.fetch(remote, tmp_path / "cache").read_bytes() == CONTENT
    target.write_bytes(b"damaged")
    (served.folder / "big.bin").write_bytes(b"another file by now")
    with pytest.raises(LossyBenchError, match="wrong SHA-256"):
        download.fetch(remote, tmp_path / "cache")


def test_404_ends_at_once_and_says_what_helps(served, tmp_path, waits):
    with pytest.raises(LossyBenchError, match=r"gone\.bin: the server answers 404.*`mirror`.*`path`"):
        download.fetch(Remote(f"{served.address}/gone.bin"), tmp_path / "cache")
    assert (len(served.requests), waits) == (1, [])


def test_a_server_that_cannot_be_trusted_ends_at_once(served, tmp_path, waits):
    with pytest.raises(LossyBenchError, match=r"cannot be trusted .*folder, which you name as `mirror`"):
        download.fetch(Remote(f"{served.address.replace('http', 'https')}/big.bin"), tmp_path / "cache")
    assert waits == []


def test_an_unreachable_address_is_named(tmp_path):
    with pytest.raises(LossyBenchError, match=r"http://127\.0\.0\.1:9/x: download failed.*mirror.*local copy"):
        download.fetch(Remote("http://127.0.0.1:9/x"), tmp_path)


def test_another_size_than_published_is_refused_before_the_download(served, tmp_path):
    with pytest.raises(LossyBenchError, match="has 300000 bytes, but 300001 are published"):
        download.fetch(big(served, size=300_001), tmp_path / "cache")


def test_a_disk_without_room_is_found_before_the_download(served, tmp_path, monkeypatch):
    monkeypatch.setattr(download.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 1000}))
    with pytest.raises(LossyBenchError, match=r"still to come, but .* has room for 0\.0 GiB.*LOSSYBENCH_CACHE"):
        download.fetch(big(served), tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache").iterdir() if path.stat().st_size]


def test_a_disk_that_fills_up_is_named_and_the_download_goes_on_later(served, tmp_path):
    remote = big(served)
    partial = tmp_path / "cache" / f".{remote.key}-big.bin.part"
    partial.parent.mkdir()
    partial.symlink_to("/dev/full")  # every write fails as on a full disk
    with pytest.raises(LossyBenchError, match=r"big\.bin: cannot be kept .*No space left.*make room or set LOSSY"):
        download.fetch(remote, tmp_path / "cache")
    partial.unlink()
    partial.write_bytes(CONTENT[:1234])
    assert download.fetch(remote, tmp_path / "cache").read_bytes() == CONTENT
    assert served.asked[-1] == "bytes=1234-"


def test_a_mirror_or_a_folder_may_stand_in(served, tmp_path):
    elsewhere = Remote("http://127.0.0.1:9/far/away/big.bin", (digest(CONTENT),))
    assert download.fetch(elsewhere, tmp_path / "cache", served.address + "/").read_bytes() == CONTENT
    served.requests.clear()
    local = download.fetch(elsewhere, tmp_path / "other", str(served.folder))
    assert local == served.folder / "big.bin"
    assert not served.requests
    (served.folder / "big.bin").write_bytes(b"damaged")
    with pytest.raises(LossyBenchError, match="wrong SHA-256"):
        download.fetch(elsewhere, tmp_path / "other", str(served.folder))
    assert local.exists()  # the user's own
    with pytest.raises(LossyBenchError, match=r"nowhere/big\.bin: no such file"):
        download.fetch(elsewhere, tmp_path / "other", str(tmp_path / "nowhere"))


# Archives --------------------------------------------------------------------------------------------------------


def tar_with(path, *members):
    with tarfile.open(path, "w:gz") as archive:
        for name, change in members:
            member = tarfile.TarInfo(name)
            member.size = 2
            for key, value in change.items():
                setattr(member, key, value)
            archive.addfile(member, io.BytesIO(b"hi"))
    return path


def refuse(archive, tmp_path):
    with pytest.raises(LossyBenchError, match="unsafe"):
        download.unpack({archive.name: archive}, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir() if path.name != ".out.lock"] == [archive.name]


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("/etc/evil", {}),
        ("../evil", {}),
        ("a/../../evil", {}),
        ("link", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd", "size": 0}),
        ("hard", {"type": tarfile.LNKTYPE, "linkname": "../x", "size": 0}),
        ("device", {"type": tarfile.CHRTYPE, "size": 0}),
    ],
)
def test_escaping_tar_is_refused_whole(tmp_path, name, change):
    refuse(tar_with(tmp_path / "a.tar.gz", ("good.txt", {}), (name, change)), tmp_path)


@pytest.mark.parametrize("name", ["/etc/evil", "../evil", "a\\..\\..\\evil", "link"])
def test_escaping_zip_is_refused_whole(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("good.txt", "hi")
        member = zipfile.ZipInfo(name)
        if name == "link":
            member.external_attr = 0o120777 << 16
        archive.writestr(member, "/etc/passwd")
    refuse(tmp_path / "a.zip", tmp_path)


@pytest.mark.parametrize("name", ["/etc/evil", "../evil", "link"])
def test_escaping_rar_is_refused_whole(tmp_path, name):
    mode = 0o120777 if name == "link" else 0o100644
    (tmp_path / "a.rar").write_bytes(loopback.rar({name: b"/etc/passwd"}, mode))
    refuse(tmp_path / "a.rar", tmp_path)


def test_good_archives_unpack_into_one_folder_and_damaged_ones_are_named(tmp_path):
    archives = [tar_with(tmp_path / "a.tar.gz", ("folder/good.txt", {})), tmp_path / "b.zip", tmp_path / "c.rar"]
    loopback.write_zip(archives[1], {"folder/other.txt": b"zip"})
    archives[2].write_bytes(loopback.rar({"third/deep.bin": b"rar" * 20}))
    out = download.unpack({path.name: path for path in archives}, tmp_path / "out")
    found = {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert found == {"folder/good.txt": b"hi", "folder/other.txt": b"zip", "third/deep.bin": b"rar" * 20}
    for archive in archives:
        archive.write_bytes(archive.read_bytes()[:-20])
        assert download.unpack({archive.name: archive}, tmp_path / "out") == tmp_path / "out"  # there already
        with pytest.raises(LossyBenchError, match=rf"{archive.name}: not a whole zip, tar or rar archive"):
            download.unpack({archive.name: archive}, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_archives_that_unpack_to_very_much_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "_BOMB", (100, 1 << 20))
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(1 << 21))
    refuse(tmp_path / "a.zip", tmp_path)
    (tmp_path / "a.zip").unlink()
    loopback.write_zip(tmp_path / "c.zip", {"noise": os.urandom(1 << 21)})  # as large, but an honest archive
    assert (download.unpack({"c.zip": tmp_path / "c.zip"}, tmp_path / "out") / "noise").stat().st_size == 1 << 21


@pytest.mark.parametrize("names", [("x", "x/y"), ("a" * 300,), (".",)])
def test_members_that_no_folder_can_hold_are_named_with_the_archive(tmp_path, names):
    tar_with(tmp_path / "a.tar.gz", *((name, {}) for name in names))
    with pytest.raises(LossyBenchError, match=r"a\.tar\.gz: not a whole .* archive that can be unpacked"):
        download.unpack({"a.tar.gz": tmp_path / "a.tar.gz"}, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir() if path.name != ".out.lock"] == ["a.tar.gz"]


def test_a_rar_archive_without_a_program_to_read_it_says_which_to_install(tmp_path, monkeypatch):
    (tmp_path / "a.rar").write_bytes(loopback.rar({"packed.avi": b"1234"}, method=0x33))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(rarfile, "CURRENT_SETUP", None)
    with pytest.raises(LossyBenchError, match=r"a\.rar: .*bsdtar, unar, unrar or 7z.*libarchive-tools.*`path`"):
        download.unpack({"a.rar": tmp_path / "a.rar"}, tmp_path / "out")
    assert not (tmp_path / "out").exists()
