"""What is special to AAC, Vorbis, G.711, G.722 and AMR-NB; test_codecs.py has what every codec must do."""

import io
import subprocess
from fractions import Fraction

import av
import imageio_ffmpeg
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_codecs import lag, some_levels, speech

from lossybench import codecs, fidelity
from lossybench.codecs import _ogg, aac, amrnb, g722
from lossybench.errors import LossyBenchError

NEW = ("aac", "amrnb", "g711", "g722", "vorbis")
# What FFmpeg calls the format of the file, and the rates at which no clip is resampled.
FORMATS = {"aac": ("aac", 44100), "amrnb": ("amr", 8000), "g711": ("mulaw", 8000), "g722": ("g722", 16000)}
FORMATS["vorbis"] = ("ogg", 22050)
MODES = {4.75: 95, 5.15: 103, 5.9: 118, 6.7: 134, 7.4: 148, 7.95: 159, 10.2: 204, 12.2: 244}  # RFC 4867, table 1: bits


def ffmpeg(payload, form, rate, options=()):
    """The samples that the ffmpeg of imageio-ffmpeg, which is another build, decodes a file of this content to."""
    told = ["-ar", str(rate), "-ac", "1"] if form in ("mulaw", "alaw") else []
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *told, *options, "-f", form, "-i", "-"]
    raw = subprocess.run([*command, "-f", "f32le", "-"], input=payload, capture_output=True, check=True).stdout
    return np.frombuffer(raw, np.float32) * 32768


@pytest.mark.parametrize("name", NEW)
def test_what_is_counted_is_a_file_that_another_ffmpeg_decodes_to_the_same_samples(name):
    codec, (form, rate) = codecs.get(name), FORMATS[name]
    delay = {"aac": aac.DELAY, "amrnb": amrnb.DELAY, "g722": g722.DELAY}.get(name, 0)
    for length in (1, 777, 20000):
        clip = speech(rate, 1.0)[:length]
        for level in some_levels(codec, "audio", rate, 3)[: 1 if name == "g722" else 3]:
            encoded = codec.encode(clip, level, rate)
            assert encoded.payload_bits + encoded.overhead_bits == 8 * len(encoded.payload)
            decoded = codec.decode(encoded.payload, clip.shape, rate)
            reference = ffmpeg(encoded.payload, form, rate)[delay : delay + len(clip)]
            assert len(reference) == len(clip)
            if name == "amrnb":  # 3GPP's decoder, in integers, here; FFmpeg's, in floats, there
                assert fidelity.snr(decoded, np.rint(reference).astype(np.int16)) > 20 or length == 1
            else:
                assert np.abs(np.clip(reference, -32768, 32767) - decoded).max() < 1


@pytest.mark.parametrize("name", NEW)
@pytest.mark.parametrize("rate", [8000, 16000, 22050, 48000])
def test_noise_lies_on_the_original(name, rate):
    codec = codecs.get(name)
    noise = np.random.default_rng(rate).normal(0, 5000, rate // 2).astype(np.int16)
    for level in some_levels(codec, "audio", rate, 3):
        # In fractions of a sample of AMR's own 8 kHz, its high-pass filters do shift.
        assert abs(lag(noise, codec.roundtrip(noise, level, rate))) <= (rate > 8000) * rate / 8000 * (name == "amrnb")


@pytest.mark.parametrize("name", ["g711", "g722", "vorbis", "aac"])
def test_an_impulse_stays_where_it_was(name):
    codec = codecs.get(name)
    for rate in (8000, 44100):
        for at in (0, 1234, 2999):
            clip = np.zeros(3000, np.int16)
            clip[at] = 30000
            decoded = codec.roundtrip(clip, some_levels(codec, "audio", rate)[0], rate).astype(int)
            # Of an impulse at an end, the band limit leaves one half alone, whose peak lies a little further in.
            inner = codec.native(rate)
            near = rate / inner if inner < rate and at in (0, 2999) else 0
            assert abs(np.abs(decoded).argmax() - at) <= near
            assert np.abs(decoded).max() > 0.3 * 30000 * min(1, inner / rate)


@pytest.mark.parametrize("name", NEW)
def test_what_is_left_out_at_a_frames_end_is_missed(name):
    codec, (_, rate) = codecs.get(name), FORMATS[name]
    clip = speech(rate, 1.0)
    payload = codec.encode(clip, some_levels(codec, "audio", rate)[0], rate).payload
    ends = {
        "aac": lambda: np.cumsum([len(frame) for frame in aac._frames(payload, rate)]),
        "amrnb": lambda: range(6, len(payload), 32),
        "vorbis": lambda: [end for _, end in _ogg._bounds(payload)],
    }.get(name, lambda: range(100, len(payload), 100))()
    for end in list(ends)[:-1][:: 1 if name != "amrnb" else 7]:
        with pytest.raises(LossyBenchError, match=f"{name} payload is damaged"):
            codec.decode(payload[:end], clip.shape, rate)
        with pytest.raises(LossyBenchError, match=f"{name} payload is damaged"):
            codec.decode(payload[end:], clip.shape, rate)
    with pytest.raises(LossyBenchError, match=f"{name} payload is damaged"):
        codec.decode(payload * 2, clip.shape, rate)


# AAC


@pytest.mark.parametrize("rate", aac.RATES)
def test_aac_counts_the_stream_that_ffmpegs_muxer_writes(rate):
    clip, level = speech(rate, 0.3), min(6 * rate / 1000, 64)
    encoded = codecs.get("aac").encode(clip, level, rate)
    frames = list(aac._frames(encoded.payload, rate))
    file = io.BytesIO()
    with av.open(file, "w", format="adts") as out:
        stream = out.add_stream("aac", rate=rate, layout="mono")
        stream.codec_context.open()
        for number, frame in enumerate(frames):
            packet = av.Packet(frame[aac.HEADER :])
            packet.pts = packet.dts = 1024 * number
            packet.time_base, packet.stream = Fraction(1, rate), stream
            out.mux(packet)
    assert file.getvalue() == encoded.payload
    assert encoded.overhead_bits == 8 * 7 * len(frames)


def test_aac_runs_near_its_target_and_says_what_it_can_at_a_rate():
    codec = codecs.get("aac")
    for rate, levels in ((8000, (16, 40)), (16000, (16, 32, 64)), (44100, (48, 96, 192))):
        clip = speech(rate, 3.0)
        for level in levels:
            assert codec.encode(clip, level, rate).payload_bits / 3000 == pytest.approx(level, rel=0.12)
    codec.check(48, "audio", 8000)
    for level, rate, most in ((48.1, 8000, "48"), (97, 16000, "96"), (280, 44100, "264.6")):
        with pytest.raises(LossyBenchError, match=f"'aac' can do up to {most} kb/s at {rate} Hz, not {level:g} kb/s"):
            codec.check(level, "audio", rate)


def test_aac_of_two_channels_or_another_rate_is_damaged():
    codec, clip = codecs.get("aac"), speech(16000)
    payload = bytearray(codec.encode(clip, 32, 16000).payload)
    with pytest.raises(LossyBenchError, match="no whole frame at 24000 Hz at byte 0"):
        codec.decode(bytes(payload), clip.shape, 24000)
    payload[3] ^= 0xC0  # the channels
    with pytest.raises(LossyBenchError, match="no whole frame at 16000 Hz at byte 0"):
        codec.decode(bytes(payload), clip.shape, 16000)


# Vorbis and Ogg


def slow_checksum(page):
    """RFC 3533, section 6, bit by bit."""
    register = 0
    for byte in page:
        register ^= byte << 24
        for _ in range(8):
            register = register << 1 ^ (0x104C11DB7 if register & 1 << 31 else 0)
    return register.to_bytes(4, "little")


@given(st.binary(max_size=300))
def test_the_checksum_of_a_page_is_that_of_its_standard(page):
    assert _ogg.checksum(page) == slow_checksum(page)


@pytest.mark.parametrize("level", [0, 3.5, 10])
def test_vorbis_counts_the_audio_packets_that_another_demuxer_finds(level):
    for rate in (8000, 44100):
        clip = speech(rate, 4.0)
        encoded = codecs.get("vorbis").encode(clip, level, rate)
        with av.open(io.BytesIO(encoded.payload)) as file:
            packets = [packet.size for packet in file.demux(audio=0)]
        assert encoded.payload_bits == 8 * sum(packets)


def test_vorbis_repeats_though_its_writer_draws_a_number():
    clip = speech(16000)
    payloads = {codecs.get("vorbis").encode(clip, 5, 16000).payload for _ in range(3)}
    assert len(payloads) == 1 and payloads.pop()[14:18] == bytes(4)


CLIP = speech(16000)
PAYLOAD = codecs.get("vorbis").encode(CLIP, 5, 16000).payload
BODIES = [at for start, end in _ogg._bounds(PAYLOAD) for at in range(start + 27 + PAYLOAD[start + 26], end)]


@settings(max_examples=100, deadline=None)
@given(st.floats(0, 1, exclude_max=True, allow_subnormal=False), st.integers(0, 7))
def test_every_flipped_bit_of_vorbis_is_noticed(part, bit):
    payload = bytearray(PAYLOAD)
    payload[int(part * len(payload))] ^= 1 << bit
    with pytest.raises(LossyBenchError, match="vorbis payload is damaged"):
        codecs.get("vorbis").decode(bytes(payload), CLIP.shape, 16000)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 1, exclude_max=True, allow_subnormal=False), min_size=1, max_size=20), st.integers(0, 7))
def test_vorbis_with_right_checksums_of_wrong_packets_decodes_to_its_shape_or_is_damaged(parts, bit):
    payload = bytearray(PAYLOAD)
    for part in parts:
        payload[BODIES[int(part * len(BODIES))]] ^= 1 << bit
    try:
        decoded = codecs.get("vorbis").decode(_ogg.renumbered(bytes(payload)), CLIP.shape, 16000)
        assert decoded.shape == CLIP.shape
    except LossyBenchError as error:
        assert "vorbis payload is damaged" in str(error)


# Telephones


@pytest.mark.parametrize("name, level, message", [
    ("g711", 63.5, "out of range; use 64 to 64"),
    ("g722", 50, "'g722' cannot do 50 kb/s; it can 48, 56, 64"),
    ("amrnb", 6, "'amrnb' cannot do 6 kb/s; it can 4.75, 5.15, 5.9, 6.7, 7.4, 7.95, 10.2, 12.2"),
])  # fmt: skip
def test_bitrates_that_a_codec_lacks_are_refused_with_those_that_it_has(name, level, message):
    with pytest.raises(LossyBenchError, match=message):
        codecs.get(name).check(level, "audio", 8000)


def mu_law(byte):
    """The sample of a mu-law byte on the scale of int16 (G.711, table 2a: 14 bits, the highest 8031)."""
    sign, exponent, mantissa = ~byte >> 7 & 1, ~byte >> 4 & 7, ~byte & 15
    return (-1) ** sign * 4 * ((2 * mantissa + 33 << exponent) - 33)


def a_law(byte):
    """The sample of an A-law byte on the scale of int16 (G.711, table 1a: 13 bits, the highest 4032)."""
    byte ^= 0x55
    sign, exponent, mantissa = byte >> 7 & 1, byte >> 4 & 7, byte & 15
    value = 2 * mantissa + 1 if exponent == 0 else 2 * mantissa + 33 << exponent - 1
    return (-1) ** (1 - sign) * 8 * value


@pytest.mark.parametrize("law, formula", [("mu", mu_law), ("a", a_law)])
def test_g711_is_its_standards_table(law, formula):
    codec, levels = codecs.get("g711", {"law": law}), np.array([formula(byte) for byte in range(256)])
    np.testing.assert_array_equal(codec.decode(bytes(range(256)), (256,), 8000), levels)
    samples = np.arange(-32768, 32768, 3).astype(np.int16)
    decoded = codec.roundtrip(samples, 64, 8000).astype(int)
    nearest = np.abs(samples[:, None] - levels[None].astype(int)).min(axis=1)
    # FFmpeg's encoder leaves two of the 16 bits out, and so decides up to 3 below.
    assert (np.abs(decoded - samples) - nearest).max() <= 6
    assert codec.encode(samples, 64, 8000).payload_bits == 8 * len(samples)


def test_a_telephone_keeps_what_lies_below_half_its_rate():
    for name, passed, stopped in (("g711", 3000, 4500), ("g722", 6500, 9000), ("amrnb", 1000, 4500)):
        codec, time = codecs.get(name), np.arange(22050) / 44100
        kept = {}
        for frequency in (passed, stopped):
            tone = (8000 * np.sin(2 * np.pi * frequency * time)).astype(np.int16)
            decoded = codec.roundtrip(tone, codec.bounds[1], 44100)[2000:-2000].astype(float)
            kept[frequency] = np.std(decoded) / np.std(tone)
        assert kept[passed] > 0.5 and kept[stopped] < 0.05, name


def test_a_resampled_clip_is_that_of_its_resampled_samples():
    """What a codec does to a clip at 48 kHz is what it does at its own rate, but for two changes of the rate."""
    low = speech(16000, 0.5)
    for name, rate in (("g722", 48000), ("g711", 32000)):
        codec = codecs.get(name)
        high = codec.roundtrip(np.repeat(low, rate // 16000), 64, rate)
        assert high.shape == (len(low) * rate // 16000,)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 500), st.sampled_from([56, 48]), st.integers(0, 2**32 - 1))
def test_g722_packs_the_upper_bits_of_each_codeword_from_the_lowest_bit_on(length, level, seed):
    clip = np.random.default_rng(seed).integers(-20000, 20000, length).astype(np.int16)
    full, packed = (codecs.get("g722").encode(clip, kbps, 16000).payload for kbps in (64, level))
    bits = level // 8
    together = sum((byte >> (8 - bits)) << (bits * place) for place, byte in enumerate(full))
    assert packed == together.to_bytes(-(-bits * len(full) // 8), "little")
    # The decoder of 64 kb/s takes them for codewords whose last bits are 0: nearly the same.
    mask = 256 - 2 ** (8 - bits)
    padded = bytes(byte & mask for byte in full)
    same = ffmpeg(padded, "g722", 16000, ["-bits_per_codeword", str(bits)])[g722.DELAY : g722.DELAY + length]
    decoded = codecs.get("g722").decode(packed, clip.shape, 16000)
    np.testing.assert_array_equal(decoded, same.astype(np.int16))


@pytest.mark.parametrize("level", MODES)
def test_amr_counts_the_bits_of_its_modes(level):
    encoded = codecs.get("amrnb").encode(speech(8000, 1.0), level, 8000)
    frames = 51  # of 20 ms, and one for the encoder's delay of 5 ms
    assert encoded.payload_bits == 8 * -(-MODES[level] // 8) * frames
    assert encoded.overhead_bits == 8 * (6 + frames)
    assert encoded.payload.startswith(b"#!AMR\n")


def test_amr_frames_of_other_modes_are_damaged():
    codec, clip = codecs.get("amrnb"), speech(8000)
    payload = bytearray(codec.encode(clip, 12.2, 8000).payload)
    payload[6 + 32] = 0x04
    with pytest.raises(LossyBenchError, match="of another mode"):
        codec.decode(bytes(payload), clip.shape, 8000)
    with pytest.raises(LossyBenchError, match=r"no \.amr file of 31 frames"):
        codec.decode(bytes(payload[1:]), clip.shape, 8000)


def test_a_loud_voice_clips_and_does_not_wrap_in_amr():
    clip = np.clip(speech(8000, 1.0) * 3.0, -32768, 32767).astype(np.int16)
    for level in MODES:
        decoded = codecs.get("amrnb").roundtrip(clip, level, 8000).astype(int)
        assert lag(clip, decoded) == 0 and np.abs(decoded).max() > 25000
        assert np.abs(np.diff(decoded)).max() <= np.abs(np.diff(clip.astype(int))).max() + 15000
