"""The random codecs for training: in real DataLoaders, against the codecs' own round trips."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data
from test_codecs import speech
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from lossybench import codecs
from lossybench.errors import LossyBenchError
from lossybench.transforms import RandomAudioCodec, RandomCodec

LEVELS = [10, 50, 90]
PHOTOS = np.stack([data.astronaut()[y : y + 48, x : x + 64] for y in (0, 100, 200) for x in (100, 200, 300, 400)])
CLIP = np.stack([data.coffee()[100 + t : 148 + t, 200 + 2 * t : 264 + 2 * t] for t in range(6)])
SPEECH = [speech(16000, 0.25, seed) for seed in range(6)]
TENSORS = torch.from_numpy(PHOTOS).movedim(-1, -3)


def pixels(tensor: torch.Tensor) -> np.ndarray:
    """A picture tensor as codecs take it."""
    return np.ascontiguousarray(tensor.as_subclass(torch.Tensor).movedim(-3, -1).numpy())


class Samples(Dataset):
    """Items through a transform, as in training."""

    def __init__(self, items, transform) -> None:
        self.items, self.transform = items, transform

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int):
        return self.transform(self.items[index])


def loaded(items, transform, seed: int) -> list:
    """All items through a DataLoader of two workers, in order."""
    generator = torch.Generator().manual_seed(seed)
    return list(DataLoader(Samples(items, transform), batch_size=None, num_workers=2, generator=generator))


def drawn(out: np.ndarray, media: np.ndarray, codec: codecs.Codec, levels, rate: float = 0) -> list[float]:
    """The levels whose round trip of `media` is `out`, bit for bit."""
    return [level for level in levels if np.array_equal(codec.roundtrip(media, level, rate), out)]


@pytest.mark.parametrize("name, options", [("jpeg", {"chroma": "444"}), ("webp", None), ("hevc", None)])
def test_pictures_from_two_workers_are_the_codecs_own_at_a_level_that_the_seed_decides(name, options):
    transform, levels = RandomCodec(name, [10, 30, 50], options), [10, 30, 50]
    first, again, other = (loaded(TENSORS, transform, seed) for seed in (0, 0, 1))
    found = [drawn(pixels(out), photo, transform.codec, levels) for out, photo in zip(first, PHOTOS, strict=True)]
    assert all(len(one) == 1 for one in found), "each item is the round trip at one level, and at one alone"
    assert {one[0] for one in found} == set(levels)
    assert all(map(torch.equal, first, again)) and not all(map(torch.equal, first, other))
    plain = codecs.get(name).roundtrip(PHOTOS[0], found[0][0])
    assert np.array_equal(pixels(first[0]), plain) == (options is None), "the options are used"


@pytest.mark.parametrize("name, levels", [("mp3", [16, 32, 64]), ("opus", [6, 12.5, 32])])
def test_audio_from_two_workers_is_the_codecs_own_at_a_level_that_the_seed_decides(name, levels):
    waveforms = [torch.from_numpy(clip / np.float32(32768))[None] for clip in SPEECH]
    transform = RandomAudioCodec(name, levels, 16000)
    first, again, other = (loaded(waveforms, transform, seed) for seed in (3, 3, 4))
    found = []
    for out, waveform, clip in zip(first, waveforms, SPEECH, strict=True):
        assert out.dtype == torch.float32 and out.shape == waveform.shape
        found += drawn(out[0].numpy() * 32768, clip, transform.codec, levels, 16000)
    assert len(found) == len(SPEECH) and set(found) == set(levels)
    assert all(map(torch.equal, first, again)) and not all(map(torch.equal, first, other))


def test_a_clip_is_coded_as_a_clip_and_a_plain_tensor_picture_by_picture():
    codec, tensor = codecs.get("h264"), torch.from_numpy(CLIP).movedim(-1, -3)
    transform = RandomCodec("h264", [35])
    out = transform(tv_tensors.Video(torch.stack([tensor, tensor.flip(0)])))
    assert isinstance(out, tv_tensors.Video)
    for one, clip in zip(out, (CLIP, CLIP[::-1]), strict=True):
        assert np.array_equal(pixels(one), codec.roundtrip(clip, 35, 25))
    pictures = np.stack([codec.roundtrip(frame, 35) for frame in CLIP])
    assert np.array_equal(pixels(transform(tensor)), pictures)
    assert not np.array_equal(pixels(out[0]), pictures)


def test_a_call_has_one_level_and_leaves_all_but_the_pictures_as_they_are():
    height, width = PHOTOS.shape[1:3]
    sample = {
        "left": tv_tensors.Image(TENSORS[0]),
        "right": tv_tensors.Image(TENSORS[1]),
        "boxes": tv_tensors.BoundingBoxes([[1.5, 2, 30, 40]], format="XYXY", canvas_size=(height, width)),
        "mask": tv_tensors.Mask(torch.arange(height * width).reshape(height, width) % 7),
        "label": torch.tensor([3]),
        "name": "astronaut",
    }
    before, transform = TENSORS[:2].clone(), RandomCodec("jpeg", LEVELS)
    seen = set()
    for seed in range(12):
        torch.manual_seed(seed)
        out = transform(sample)
        left, right = (
            drawn(pixels(out[key]), PHOTOS[i], transform.codec, LEVELS) for i, key in enumerate(sample) if i < 2
        )
        assert left == right and len(left) == 1 and isinstance(out["left"], tv_tensors.Image)
        assert all(out[key] is sample[key] for key in ("boxes", "mask", "label", "name"))
        seen.add(left[0])
    assert seen == set(LEVELS)
    assert torch.equal(TENSORS[:2], before), "the input is not written to"


def test_pil_images_and_floats_are_what_uint8_is():
    transform, expected = RandomCodec("jpeg", [20]), codecs.get("jpeg").roundtrip(PHOTOS[0], 20)
    image = transform(Image.fromarray(PHOTOS[0]))
    assert isinstance(image, Image.Image) and np.array_equal(np.asarray(image), expected)
    reference = torch.from_numpy(expected).movedim(-1, -3)
    for dtype in (torch.float32, torch.float64, torch.float16):
        out = transform(tv_tensors.Image(TENSORS[0].to(dtype) / 255))
        assert out.dtype == dtype and isinstance(out, tv_tensors.Image)
        assert torch.equal(out.as_subclass(torch.Tensor), reference.to(dtype) / 255)
    # Between two integers the nearest is coded.
    assert torch.equal(transform((TENSORS[0] + 0.4).clamp(max=255) / 255), reference / 255)


def test_batches_and_channels_are_coded_one_by_one():
    batch = TENSORS.reshape(3, 4, *TENSORS.shape[1:])
    out = RandomCodec("jpeg", [20])(batch)
    for index in np.ndindex(3, 4):
        assert np.array_equal(pixels(out[index]), codecs.get("jpeg").roundtrip(pixels(batch[index]), 20))
    assert RandomCodec("jpeg", [20])(batch[:0]).shape == batch[:0].shape
    stereo = torch.from_numpy(np.stack(SPEECH[:2]) / 32768)
    out = RandomAudioCodec("opus", [16], 16000)(stereo)
    assert out.dtype == torch.float64
    for channel, clip in zip(out.numpy(), SPEECH, strict=False):
        assert np.array_equal(channel * 32768, codecs.get("opus").roundtrip(clip, 16, 16000))


def test_a_peak_of_one_does_not_wrap():
    loud = torch.tensor([1.0, -1.0]).repeat_interleave(40).repeat(50)
    out = RandomAudioCodec("original", [0], 8000)(loud)
    assert torch.equal(out, loud.clamp(max=32767 / 32768))


def test_p_is_the_share_of_calls_that_are_coded_and_the_rest_is_returned_as_it_is():
    torch.manual_seed(0)
    transform = RandomCodec("jpeg", LEVELS, p=0.25)
    coded = sum(not torch.equal(transform(TENSORS[0]), TENSORS[0]) for _ in range(400))
    assert 65 <= coded <= 135  # four standard deviations around 100
    item, waveform = TENSORS[0], torch.zeros(800)
    assert RandomCodec("jpeg", LEVELS, p=0)(item) is item
    assert RandomAudioCodec("mp3", [32], 16000, p=0)(waveform) is waveform


def test_results_are_detached():
    picture, waveform = (TENSORS[0] / 255).requires_grad_(), torch.zeros(800, requires_grad=True)
    for module, item in ((RandomCodec("jpeg", [50]), picture), (RandomAudioCodec("mp3", [32], 16000), waveform)):
        assert not module(item).requires_grad and item.grad is None


def test_it_fits_among_torchvisions_transforms_and_survives_pickling():
    pipeline = v2.Compose([v2.ToImage(), RandomCodec("jpeg", LEVELS), v2.ToDtype(torch.float32, scale=True)])
    copy = pickle.loads(pickle.dumps(pipeline))
    outs = []
    for one in (pipeline, copy):
        torch.manual_seed(5)
        outs.append(one(Image.fromarray(PHOTOS[0])))
    assert torch.equal(*outs) and isinstance(outs[0], tv_tensors.Image)
    assert drawn(np.rint(pixels(outs[0]) * 255).astype(np.uint8), PHOTOS[0], codecs.get("jpeg"), LEVELS)
    assert "Jpeg(chroma='420', tables='standard', progressive=False), levels=[10, 50, 90], p=1" in repr(pipeline)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: RandomCodec("jpgg", [50]), "did you mean 'jpeg'"),
        (lambda: RandomCodec("jpeg", [50, 101]), "QF 101 is out of range; use 1 to 100"),
        (lambda: RandomCodec("jpeg", ["50"]), "QF '50' is no number"),
        (lambda: RandomCodec("jpeg", []), "give one level at least"),
        (lambda: RandomCodec("jpeg", [50], p=1.5), "p from 0 to 1"),
        (lambda: RandomCodec("jpeg", [50], {"chroma": "422"}), "known: 420, 444"),
        (lambda: RandomCodec("mp3", [32]), "is for audio, not for image"),
        (lambda: RandomAudioCodec("jpeg", [32], 16000), "is for image and video, not for audio"),
        (lambda: RandomAudioCodec("mp3", [96], 8000), "cannot do 96 kb/s at 8000 Hz"),
        (lambda: RandomAudioCodec("opus", [32], 0), "needs its sampling rate"),
        (lambda: RandomAudioCodec("opus", [32], 22050.5), "whole number of Hz"),
        (lambda: RandomAudioCodec("opus", [32], "16000"), "give Hz for audio"),
    ],
)
def test_what_cannot_be_is_refused_when_the_module_is_made(make, message):
    with pytest.raises(LossyBenchError, match=message):
        make()


PICTURE = torch.zeros(3, 8, 8)


@pytest.mark.parametrize(
    "item, message",
    [
        (torch.zeros(8, 8, 3), r"Tensor torch.float32 \(8, 8, 3\); it must be uint8 or float \(..., 3, H, W\)"),
        (torch.zeros(1, 8, 8), "it must be uint8 or float"),
        (torch.zeros(3, 8), "it must be uint8 or float"),
        (PICTURE.int(), "torch.int32"),
        (PICTURE.bool(), "torch.bool"),
        (tv_tensors.Video(PICTURE[None, :1]), r"Video .*; it must be uint8 or float \(..., frames, 3, H, W\)"),
        (PICTURE - 0.1, "values from -0.1 to -0.1, not 0 to 1; clamp them, or put the codec before Normalize"),
        (PICTURE * torch.nan, "values from nan to nan"),
        (PICTURE + 255, "values from 255 to 255"),
        (torch.zeros(3, 0, 8, dtype=torch.uint8), "must be a non-empty image"),
        (Image.new("L", (8, 8)), r"mode L; it must be RGB: image.convert\('RGB'\)"),
        (np.zeros((8, 8, 3), np.uint8), "nothing to code in this sample"),
    ],
)
def test_a_picture_that_cannot_be_coded_is_refused(item, message):
    with pytest.raises(LossyBenchError, match=message):
        RandomCodec("jpeg", [50])(item)


@pytest.mark.parametrize(
    "item, message",
    [
        (torch.zeros(800, dtype=torch.int16), "a waveform of torch.int16; it must be a float tensor"),
        (np.zeros(800, np.float32), "a waveform of float32"),
        (torch.tensor(0.5), "it must be a float tensor"),
        ([0.0, 0.1], "a waveform of list"),
        (torch.zeros(800) + 1.2, "values from 1.2 to 1.2, not -1 to 1; clamp them, or divide int16"),
        (torch.zeros(2, 0), "must be a non-empty"),
    ],
)
def test_a_waveform_that_cannot_be_coded_is_refused(item, message):
    with pytest.raises(LossyBenchError, match=message):
        RandomAudioCodec("mp3", [32], 16000)(item)
