"""The learned codec beyond what holds for every codec: its rate, its training, its weights, and its stage."""

import subprocess
import sys

import numpy as np
import pytest
import scipy.stats
import torch
from learned_weights import OPTIONS, coder, cuttings, folder, trained
from safetensors.torch import load as tensors
from skimage import data

from lossybench import codecs, fidelity
from lossybench.codecs import _hyperprior, _weights, learned
from lossybench.errors import LossyBenchError
from lossybench.stages.fetch import fetch
from lossybench.stages.learn_codec import learn_codec
from lossybench.study import Study
from lossybench.tools import plan

PHOTO = data.chelsea()[40:232, 100:356]


def network(level):
    return _weights.network(coder("learned"), level)[0]


@pytest.mark.parametrize("level", [1, 4, 8])
def test_a_file_takes_the_bits_that_its_model_says_by_scipy(level):
    """The cross entropy of what is coded under the tables, by SciPy's normal distribution; the coder adds under 1 %."""
    z, rest = network(level).latents(PHOTO)
    scales = network(level)._scales(z)[2]
    upper, lower = (scipy.stats.norm.logcdf((half - np.abs(rest.ravel())) / scales) for half in (0.5, -0.5))
    bits = -(upper + np.log1p(-np.exp(lower - upper))).sum() / np.log(2)
    table = network(level).table.numpy()
    bits -= np.log2(
        [table[channel, value + _hyperprior.MOST_HYPER] for (channel, *_), value in np.ndenumerate(z)]
    ).sum()
    assert 8 * len(network(level).encode(PHOTO)) == pytest.approx(bits, rel=0.01)
    assert coder("learned").encode(PHOTO, level).payload_bits == 8 * len(network(level).encode(PHOTO))


def test_the_last_byte_of_a_small_file_is_needed():
    """The coder's words of 4 bytes are cut to what has to be there: on average half a byte lies beyond the model."""
    small, excess = network(4), []
    for image in cuttings(60, 7, 32):
        coded = small.encode(image)
        z, rest = small.latents(image)
        found = small._read(coded, z.shape)
        np.testing.assert_array_equal(found[0], z)
        np.testing.assert_array_equal(found[1], rest)
        words = -(-len(coded) // 4) * 4
        excess.append(words - len(coded))
        with np.testing.assert_raises(AssertionError):
            np.testing.assert_array_equal(
                np.concatenate([one.ravel() for one in small._read(coded[:-1], z.shape)]),
                np.concatenate([z.ravel(), rest.ravel()]),
            )
    assert np.mean(excess) > 0.5


def test_the_rate_of_training_is_that_of_coding():
    """Rounded as in coding, the loss's bits are the file's; the noise of training stands for that within a tenth."""
    image = PHOTO[:192, :256]
    x = torch.from_numpy(image / 255).permute(2, 0, 1)[None]
    decoded, bits = network(5)(x, torch.round)
    assert float(bits) == pytest.approx(8 * len(network(5).encode(image)), rel=0.02)
    pixels = (255 * decoded[0]).round().clamp(0, 255).permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(pixels, coder("learned").roundtrip(image, 5))
    torch.manual_seed(0)
    assert float(network(5)(x, _hyperprior._noisy)[1]) == pytest.approx(float(bits), rel=0.1)


def test_gradients_of_the_loss_are_those_of_differences():
    torch.manual_seed(0)
    small = _hyperprior.Hyperprior(2).double()
    x, noise = torch.rand(1, 3, 16, 16, dtype=torch.float64), {}

    def changed(y):  # the same noise at each call
        return y + noise.setdefault(y.shape, torch.rand_like(y) - 0.5)

    for parameter in (small.prior, small.analysis[1].gamma, small.synthesis[1].beta, small.hyper_synthesis[2].bias):

        def loss(value, parameter=parameter):
            names = {id(one): name for name, one in small.named_parameters()}
            decoded, bits = torch.func.functional_call(small, {names[id(parameter)]: value}, (x, changed))
            return bits + 100 * ((decoded - x) ** 2).sum()

        assert torch.autograd.gradcheck(loss, parameter.detach().clone().requires_grad_(), eps=1e-6, atol=1e-3)


def test_gdn_and_its_inverse_are_the_formula():
    torch.manual_seed(0)
    x = torch.randn(2, 3, 4, 5)
    for inverse in (False, True):
        gdn = _hyperprior.Gdn(3, inverse)
        with torch.no_grad():
            gdn.gamma.copy_(torch.rand(3, 3))
        norm = torch.sqrt(gdn.beta[None, :, None, None] ** 2 + 1e-6 + torch.einsum("ij,njhw->nihw", gdn.gamma**2, x**2))
        torch.testing.assert_close(gdn(x), x * norm if inverse else x / norm)


def test_training_repeats_and_follows_its_seed():
    first = trained(4, steps=5)
    assert trained(4, steps=5) == first
    assert trained(4, steps=5, seed=1) != first and trained(5, steps=5) != first
    state = torch.random.get_rng_state()
    trained(4, steps=5)
    _hyperprior.load(first, OPTIONS["channels"])
    assert torch.equal(torch.random.get_rng_state(), state)  # of whatever else this process trains


def test_training_pays():
    short, long = (_hyperprior.load(trained(4, steps=steps), OPTIONS["channels"]) for steps in (20, 150))

    def loss(of):
        decoded = of.decode(coded := of.encode(PHOTO), *PHOTO.shape[:2])
        mse = np.mean((decoded / 255 - PHOTO / 255) ** 2)
        return 8 * len(coded) / PHOTO[..., 0].size + learned.WEIGHTS[3] * 255**2 * mse

    assert loss(long) < 0.7 * loss(short)


def test_rate_and_fidelity_rise_with_the_weight_of_the_squared_error():
    bits, quality = [], []
    for level in (1, 5):
        of = _hyperprior.load(trained(level, steps=300, channels=12), 12)
        coded = of.encode(PHOTO)
        bits.append(len(coded))
        quality.append(fidelity.psnr(PHOTO, of.decode(coded, *PHOTO.shape[:2])))
    assert bits[1] > 1.3 * bits[0] and quality[1] > quality[0] + 0.3
    assert list(np.sort(learned.WEIGHTS)) == list(learned.WEIGHTS) and coder("learned").stronger == "lower"


def test_what_is_too_large_is_refused_before_memory_is_taken():
    codec = coder("learned")
    with pytest.raises(LossyBenchError, match=r"4000 x 2000 pixels .* 65535 a side, 2097152 pixels"):
        codec.check(1, "image", 0, (2000, 4000, 3))
    payload = codec.encode(PHOTO, 4).payload
    with pytest.raises(LossyBenchError, match="it is of 256 x 192 pixels, not 20000 x 64"):
        codec.decode(payload, (64, 20000, 3))


def test_the_prior_is_a_distribution():
    for level in (1, 8):
        table = tensors(trained(level, steps=5))["table"]
        assert table.dtype == torch.float64 and (table > 0).all()
        torch.testing.assert_close(table.sum(1), torch.ones(len(table), dtype=torch.float64))


def test_files_of_other_weights_and_missing_or_wrong_weights_are_refused(tmp_path):
    codec = coder("learned")
    payload = codec.encode(PHOTO, 4).payload
    (tmp_path / "4.safetensors").write_bytes(trained(4, steps=3))
    with pytest.raises(LossyBenchError, match="made with other weights"):
        coder("learned", {"weights": str(tmp_path)}).decode(payload, PHOTO.shape)
    with pytest.raises(LossyBenchError, match=r"5\.safetensors: is missing; run the study again"):
        coder("learned", {"weights": str(tmp_path)}).encode(PHOTO, 5)
    with pytest.raises(LossyBenchError, match=r"weights of another codec or other options .*; train them anew"):
        coder("learned", {"channels": 16}).encode(PHOTO, 4)
    with pytest.raises(
        LossyBenchError, match=r"codec 'learned': image of shape .* it has no weights; a study trains them"
    ):
        codecs.get("learned").encode(PHOTO, 4)
    (tmp_path / "4.safetensors").write_bytes(b"no weights")
    with pytest.raises(LossyBenchError, match=r"4\.safetensors: weights of another codec"):
        coder("learned", {"weights": str(tmp_path)}).encode(PHOTO, 4)


def test_the_title_does_not_say_where_weights_lie():
    assert codecs.get("learned", {"weights": folder()}).full_title() == "Learned"
    assert codecs.get("learned", {"weights": folder(), "channels": 8}).full_title() == "Learned channels 8"
    assert folder() not in coder("learned").version()


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (17, 23), (64, 65)])
def test_any_size_comes_back_as_large_as_it_was(shape):
    image = np.ascontiguousarray(PHOTO[: shape[0], : shape[1]])
    decoded = coder("learned").roundtrip(image, 8)
    assert decoded.shape == image.shape and fidelity.psnr(image, decoded) > 12


def test_truncations_and_flips_in_a_thousand_places():
    codec, draw = coder("learned"), np.random.default_rng(0)
    image = PHOTO[:48, :48]
    payload = codec.encode(image, 4).payload
    accepted = 0
    for _ in range(1000):
        with pytest.raises(LossyBenchError):
            codec.decode(payload[: draw.integers(len(payload))], image.shape)
        flipped = bytearray(payload)
        flipped[draw.integers(len(payload))] ^= 1 << draw.integers(8)
        with pytest.raises(LossyBenchError):  # a check of 16 bits finds every single flip
            accepted += codec.decode(bytes(flipped), image.shape).shape == image.shape
    assert not accepted


# What a study makes of it


def study(tmp_path, **of_codecs):
    data = {"adapter": "digits", "train": 40, "val": 10, "test": 10, "size": 40}
    task = {"data": data, "codecs": {"jpeg": [50], **of_codecs}, "models": {"resnet": {}}}
    return Study({"results": str(tmp_path / "results"), "tasks": {"digits": task}})


def test_a_study_fills_in_where_weights_lie_and_trains_them_level_by_level(tmp_path):
    loaded = study(tmp_path, learned=[3, 1], wide={"codec": "learned", "options": {"channels": 64}, "levels": [8]})
    folder = tmp_path / "results/learned/digits"
    assert loaded.coder("digits", "learned")["options"] == {"weights": f"{folder}/learned"}
    assert loaded.coder("digits", "wide")["options"] == {"channels": 64, "weights": f"{folder}/wide"}
    assert loaded.coder("digits", "jpeg")["options"] == {}
    wanted = [folder / name for name in ("learned/3.safetensors", "learned/1.safetensors", "wide/8.safetensors")]
    assert loaded.all_weights("digits") == wanted and loaded.weights("digits", "jpeg", [50]) == []
    settings = loaded.preflight_settings("digits")["codecs"]
    assert settings["wide"]["options"]["weights"] == f"{folder}/wide"
    jobs = plan.jobs(loaded)
    assert jobs["learn_codec"] == 3 and jobs["compress"] == 3 and jobs["compress_digits_jpeg_test"] == 1


@pytest.mark.parametrize(
    "codec, message",
    [
        ({"levels": [3], "options": {"weights": "mine"}}, "options.weights: the study trains them"),
        ({"levels": [3], "generations": 2}, "learned learns weights for each level, and can be no step"),
        ({"levels": [1], "parameter": "bpp"}, "learned learns weights for each level, and can be no step"),
        ({"levels": [3], "grid": {"noise": [4]}}, "learned learns weights for each level, and can be no step"),
        ([9], "quality 9 is out of range; use 1 to 8"),
    ],
)
def test_a_study_refuses_what_it_could_not_train(tmp_path, codec, message):
    with pytest.raises(LossyBenchError, match=message):
        study(tmp_path, learned=codec)


def test_a_chain_with_a_codec_that_learns_is_refused(tmp_path):
    with pytest.raises(LossyBenchError, match="learned learns weights for each level, and can be no step"):
        study(tmp_path, two={"chain": [{"jpeg": 50}, {"learned": "LEVEL"}], "levels": [3]})


def test_neither_a_study_nor_the_codecs_names_import_torch():
    program = "import sys; from lossybench import codecs; codecs.get('learned'); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "False\n"


# The stage


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    path = tmp_path_factory.mktemp("items") / "digits.parquet"
    fetch("digits", "digits", path, {"train": 40, "val": 10, "test": 10, "size": 40})
    return path


def test_the_stage_learns_from_train_and_val_and_repeats(items, tmp_path, monkeypatch):
    seen = {}

    def learn(self, pictures, validation, level, tell):
        seen.update(pictures=pictures, validation=validation, level=level)
        tell(1, 0.5)
        return b"weights"

    monkeypatch.setattr(learned.Learned, "learn", learn)
    learn_codec(items, "own", 3, tmp_path / "3.safetensors", {"steps": 5}, {"codec": "learned"})
    assert (tmp_path / "3.safetensors").read_bytes() == b"weights" and seen["level"] == 3
    assert seen["pictures"].shape == (40 * 103, 48, 48, 3) and seen["validation"].shape == (10 * 26, 48, 48, 3)
    assert seen["pictures"].dtype == np.uint8
    # Pictures of 40 pixels are filled up to 48 by their edges, and those of val and test are not learnt from.
    np.testing.assert_array_equal(seen["pictures"][:, 40:], seen["pictures"][:, 39:40].repeat(8, 1))
    kinds = {name: {one.tobytes() for one in seen[name]} for name in ("pictures", "validation")}
    assert (
        len(kinds["pictures"]) == 40 and len(kinds["validation"]) == 10 and not kinds["pictures"] & kinds["validation"]
    )


def test_the_stage_refuses_what_has_nothing_to_learn(items, tmp_path):
    with pytest.raises(LossyBenchError, match="codec 'jpeg' has no weights to learn"):
        learn_codec(items, "jpeg", 50, tmp_path / "x")
    fetch("spoken_words", "words", sounds := tmp_path / "s.parquet", {"train": 12, "val": 12, "test": 12})
    with pytest.raises(LossyBenchError, match="holds audio, and codecs learn from pictures alone"):
        learn_codec(sounds, "learned", 3, tmp_path / "x")
