"""Tiny random diffusers pipelines, one row each: name -> a folder that from_pretrained reads."""

from __future__ import annotations

import functools
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

# Latents are half the picture's side, text is 16 tokens wide and 16 long: everything else follows.
SIDE = 32
WIDTH = 16
TOKENS = 16
WORDS = "a red rabbit waving its paw in the snow".split()

Parts = dict[str, Any]


def build(name: str, folder: Path | None = None) -> Path:
    """The folder of a pipeline; without a folder, one that lasts as long as the process."""
    if folder is None:
        return _lasting(name)
    torch.manual_seed(0)
    PIPELINES[name](folder)
    return folder


def picture(side: int = SIDE) -> Any:
    """A picture for pipelines that begin with one."""
    from PIL import Image

    return Image.radial_gradient("L").resize((side, side)).convert("RGB")


@functools.cache
def _lasting(name: str) -> Path:
    return build(name, Path(_home().name) / name)


@functools.cache
def _home() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="pipelines-")


def stable_diffusion(folder: Path) -> None:
    scheduler = _scheduler("PNDMScheduler", skip_prk_steps=True)
    _save(folder, "StableDiffusionPipeline", _sd() | {"scheduler": scheduler})


def stable_diffusion_2(folder: Path) -> None:
    """Predicts v, with linear projections around attention."""
    parts = _sd(use_linear_projection=True)
    parts["scheduler"] = _scheduler(
        "DDIMScheduler", prediction_type="v_prediction", clip_sample=False
    )
    _save(folder, "StableDiffusionPipeline", parts)


def sd_turbo(folder: Path) -> None:
    """Euler at the far end of each stretch of time; called without guidance."""
    scheduler = _scheduler("EulerDiscreteScheduler", timestep_spacing="trailing")
    _save(folder, "StableDiffusionPipeline", _sd() | {"scheduler": scheduler})


def sdxl(folder: Path) -> None:
    scheduler = _scheduler("EulerDiscreteScheduler")
    _save(folder, "StableDiffusionXLPipeline", _sdxl() | {"scheduler": scheduler})


def sdxl_turbo(folder: Path) -> None:
    scheduler = _scheduler("EulerAncestralDiscreteScheduler", timestep_spacing="trailing")
    _save(folder, "StableDiffusionXLPipeline", _sdxl() | {"scheduler": scheduler})


def lcm(folder: Path) -> None:
    """Guidance is an input of the network, noise is added between the steps."""
    parts = _sd(time_cond_proj_dim=WIDTH) | {"scheduler": _scheduler("LCMScheduler")}
    _save(folder, "LatentConsistencyModelPipeline", parts)


def pixart(folder: Path) -> None:
    from diffusers import PixArtTransformer2DModel

    transformer = PixArtTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        in_channels=4,
        out_channels=8,
        num_layers=2,
        norm_num_groups=4,
        cross_attention_dim=16,
        sample_size=SIDE // 2,
        caption_channels=WIDTH,
        use_additional_conditions=False,
    )
    parts = _t5() | {"vae": _vae(), "transformer": transformer}
    parts["scheduler"] = _scheduler("DPMSolverMultistepScheduler")
    _save(folder, "PixArtSigmaPipeline", parts)


def sd3(folder: Path) -> None:
    from diffusers import SD3Transformer2DModel

    transformer = SD3Transformer2DModel(
        sample_size=SIDE // 2,
        patch_size=2,
        in_channels=4,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=32,
        caption_projection_dim=16,
        pooled_projection_dim=2 * WIDTH,
        out_channels=4,
        pos_embed_max_size=16,
        dual_attention_layers=(0,),
        qk_norm="rms_norm",
    )
    parts = _clip(projects=True) | _clip("_2", projects=True) | _t5("_3", width=32)
    parts |= {"vae": _vae(shift_factor=0.0609), "transformer": transformer}
    parts |= {"image_encoder": None, "feature_extractor": None}
    parts["scheduler"] = _scheduler("FlowMatchEulerDiscreteScheduler", shift=3.0)
    _save(folder, "StableDiffusion3Pipeline", parts)


def flux(folder: Path) -> None:
    from diffusers import FluxTransformer2DModel

    transformer = FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=WIDTH,
        guidance_embeds=True,
        axes_dims_rope=(4, 4, 8),
    )
    parts = _clip() | _t5("_2", width=32)
    parts |= {"vae": _vae(shift_factor=0.1159), "transformer": transformer}
    parts |= {"image_encoder": None, "feature_extractor": None}
    parts["scheduler"] = _scheduler(
        "FlowMatchEulerDiscreteScheduler", shift=3.0, use_dynamic_shifting=True
    )
    _save(folder, "FluxPipeline", parts)


def animatediff(folder: Path) -> None:
    from diffusers import MotionAdapter, UNetMotionModel

    adapter = MotionAdapter(
        block_out_channels=(8, 16),
        motion_layers_per_block=1,
        motion_norm_num_groups=4,
        motion_num_attention_heads=2,
    )
    unet = UNetMotionModel(
        sample_size=SIDE // 2,
        block_out_channels=(8, 16),
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        norm_num_groups=4,
        num_attention_heads=2,
        motion_num_attention_heads=2,
        down_block_types=("CrossAttnDownBlockMotion", "DownBlockMotion"),
        up_block_types=("UpBlockMotion", "CrossAttnUpBlockMotion"),
    )
    parts = _clip() | {"vae": _vae(), "unet": unet, "motion_adapter": adapter}
    parts |= {"image_encoder": None, "feature_extractor": None}
    parts["scheduler"] = _scheduler("DDIMScheduler", beta_schedule="linear", clip_sample=False)
    _save(folder, "AnimateDiffPipeline", parts)


def stable_video_diffusion(folder: Path) -> None:
    from diffusers import AutoencoderKLTemporalDecoder, UNetSpatioTemporalConditionModel

    unet = UNetSpatioTemporalConditionModel(
        sample_size=SIDE // 2,
        block_out_channels=(32, 32),
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=24,
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        num_attention_heads=(2, 2),
        num_frames=2,
        down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
        up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
    )
    vae = AutoencoderKLTemporalDecoder(
        block_out_channels=(32, 32), down_block_types=("DownEncoderBlock2D",) * 2, sample_size=SIDE
    )
    parts = _vision() | {"vae": vae, "unet": unet}
    parts["scheduler"] = _scheduler(
        "EulerDiscreteScheduler",
        prediction_type="v_prediction",
        timestep_spacing="leading",
        timestep_type="continuous",
        sigma_min=0.002,
        sigma_max=700.0,
        use_karras_sigmas=True,
    )
    _save(folder, "StableVideoDiffusionPipeline", parts)


def i2vgen(folder: Path) -> None:
    from diffusers import I2VGenXLUNet

    unet = I2VGenXLUNet(
        sample_size=SIDE // 2,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
    )
    parts = _clip() | _vision() | {"vae": _vae(), "unet": unet}
    parts["scheduler"] = _scheduler("DDIMScheduler", clip_sample=False)
    _save(folder, "I2VGenXLPipeline", parts)


def ltx(folder: Path) -> None:
    _save(folder, "LTXPipeline", _ltx())


def ltx_image(folder: Path) -> None:
    _save(folder, "LTXImageToVideoPipeline", _ltx())


def wan(folder: Path) -> None:
    from diffusers import AutoencoderKLWan, WanTransformer3DModel

    transformer = WanTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        text_dim=WIDTH,
        freq_dim=32,
        ffn_dim=32,
        num_layers=2,
        rope_max_seq_len=32,
    )
    vae = AutoencoderKLWan(
        base_dim=4, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1,
        temperal_downsample=[False, True, True],
    )  # fmt: skip
    parts = _t5(kind="UMT5") | {"vae": vae, "transformer": transformer, "transformer_2": None}
    parts["scheduler"] = _scheduler("FlowMatchEulerDiscreteScheduler", shift=7.0)
    _save(folder, "WanPipeline", parts)


def cogvideox(folder: Path) -> None:
    from diffusers import AutoencoderKLCogVideoX, CogVideoXTransformer3DModel

    transformer = CogVideoXTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=16,
        in_channels=4,
        out_channels=4,
        time_embed_dim=8,
        text_embed_dim=WIDTH,
        num_layers=2,
        sample_width=SIDE // 2,
        sample_height=SIDE // 2,
        sample_frames=9,
        max_text_seq_length=TOKENS,
        use_rotary_positional_embeddings=True,
    )
    vae = AutoencoderKLCogVideoX(
        down_block_types=("CogVideoXDownBlock3D",) * 3,
        up_block_types=("CogVideoXUpBlock3D",) * 3,
        block_out_channels=(8, 8, 8),
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=2,
        sample_height=SIDE,
        sample_width=SIDE,
    )
    parts = _t5() | {"vae": vae, "transformer": transformer}
    parts["scheduler"] = _scheduler(
        "CogVideoXDDIMScheduler",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
    )
    _save(folder, "CogVideoXPipeline", parts)


PIPELINES: dict[str, Callable[[Path], None]] = {
    "sd": stable_diffusion,
    "sd2": stable_diffusion_2,
    "sd_turbo": sd_turbo,
    "sdxl": sdxl,
    "sdxl_turbo": sdxl_turbo,
    "lcm": lcm,
    "pixart": pixart,
    "sd3": sd3,
    "flux": flux,
    "animatediff": animatediff,
    "svd": stable_video_diffusion,
    "i2vgen": i2vgen,
    "ltx": ltx,
    "ltx_image": ltx_image,
    "wan": wan,
    "cogvideox": cogvideox,
}

_TEXT = {"prompt": "a red rabbit", "num_inference_steps": 2, "height": SIDE, "width": SIDE}

# What one cheap call of each takes; add generator and output_type. "image" stands for picture().
CALLS: dict[str, dict[str, Any]] = {
    "sd": _TEXT,
    "sd2": _TEXT,
    "sd_turbo": _TEXT | {"guidance_scale": 0.0},
    "sdxl": _TEXT,
    "sdxl_turbo": _TEXT | {"guidance_scale": 0.0},
    "lcm": _TEXT,
    "pixart": _TEXT | {"use_resolution_binning": False, "max_sequence_length": TOKENS},
    "sd3": _TEXT | {"max_sequence_length": TOKENS},
    "flux": _TEXT | {"max_sequence_length": TOKENS},
    "animatediff": _TEXT | {"num_frames": 2},
    "svd": {"image": "image", "num_inference_steps": 2, "num_frames": 2}
    | {"height": SIDE, "width": SIDE},
    "i2vgen": _TEXT | {"image": "image", "num_frames": 2},
    "ltx": _TEXT | {"num_frames": 9, "max_sequence_length": TOKENS},
    "ltx_image": _TEXT | {"image": "image", "num_frames": 9, "max_sequence_length": TOKENS},
    "wan": _TEXT | {"num_frames": 5, "max_sequence_length": TOKENS},
    "cogvideox": _TEXT | {"num_frames": 9, "max_sequence_length": TOKENS},
}


def arguments(name: str, seed: int = 0) -> dict[str, Any]:
    """One cheap call's arguments, seeded, with tensors for output."""
    call = dict(CALLS[name])
    if call.get("image") == "image":
        call["image"] = picture()
    generator = torch.Generator("cpu").manual_seed(seed)
    return call | {"generator": generator, "output_type": "pt"}


def _sd(**unet: Any) -> Parts:
    return (
        _clip()
        | {"vae": _vae(), "unet": _unet(**unet)}
        | dict.fromkeys(("safety_checker", "feature_extractor", "image_encoder"))
    )


def _sdxl() -> Parts:
    unet = _unet(
        use_linear_projection=True,
        cross_attention_dim=2 * WIDTH,
        transformer_layers_per_block=(1, 2),
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + WIDTH,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )
    parts = _clip() | _clip("_2", projects=True) | {"vae": _vae(), "unet": unet}
    return parts | {"image_encoder": None, "feature_extractor": None}


def _unet(**given: Any) -> Any:
    from diffusers import UNet2DConditionModel

    usual = {
        "sample_size": SIDE // 2,
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "cross_attention_dim": WIDTH,
        "attention_head_dim": (2, 4),
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    }
    return UNet2DConditionModel(**usual | given)


def _vae(**given: Any) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=SIDE,
        **given,
    )


def _ltx() -> Parts:
    from diffusers import AutoencoderKLLTXVideo, LTXVideoTransformer3DModel

    transformer = LTXVideoTransformer3DModel(
        in_channels=8,
        out_channels=8,
        num_attention_heads=2,
        attention_head_dim=8,
        cross_attention_dim=16,
        num_layers=2,
        caption_channels=WIDTH,
    )
    vae = AutoencoderKLLTXVideo(
        latent_channels=8,
        block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(8, 8, 8, 8),
        layers_per_block=(1, 1, 1, 1, 1),
        decoder_layers_per_block=(1, 1, 1, 1, 1),
        spatio_temporal_scaling=(True, True, False, False),
        decoder_spatio_temporal_scaling=(True, True, False, False),
        patch_size=1,
    )
    parts = _t5() | {"vae": vae, "transformer": transformer}
    # What LTX-Video itself is published with; the pipeline hands over sigmas and their shift.
    parts["scheduler"] = _scheduler(
        "FlowMatchEulerDiscreteScheduler", use_dynamic_shifting=True, shift_terminal=0.1
    )
    return parts


def _clip(suffix: str = "", *, projects: bool = False) -> Parts:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=32,
        hidden_size=WIDTH,
        intermediate_size=32,
        projection_dim=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=TOKENS,
        bos_token_id=0,
        eos_token_id=1,
    )
    kind = CLIPTextModelWithProjection if projects else CLIPTextModel
    return {f"text_encoder{suffix}": kind(config), f"tokenizer{suffix}": _clip_tokenizer()}


def _t5(suffix: str = "", *, width: int = WIDTH, kind: str = "T5") -> Parts:
    import transformers

    config = getattr(transformers, f"{kind}Config")(
        vocab_size=32, d_model=width, d_kv=8, d_ff=32, num_layers=2, num_heads=2
    )
    encoder = getattr(transformers, f"{kind}EncoderModel")(config)
    return {f"text_encoder{suffix}": encoder, f"tokenizer{suffix}": _t5_tokenizer()}


def _vision() -> Parts:
    from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

    config = CLIPVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=32,
        projection_dim=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=224,  # Stable Video Diffusion resizes to no other
        patch_size=56,
    )
    encoder = CLIPVisionModelWithProjection(config)
    return {"image_encoder": encoder, "feature_extractor": CLIPImageProcessor()}


def _clip_tokenizer() -> Any:
    from transformers import CLIPTokenizer

    words = [*WORDS[1:], *(f"a{letter}" for letter in "bcdefghij")]
    entries = ["<|startoftext|>", "<|endoftext|>", *(f"{word}</w>" for word in ["a", *words])]
    with tempfile.TemporaryDirectory() as home:
        vocabulary, merges = Path(home) / "vocab.json", Path(home) / "merges.txt"
        vocabulary.write_text(json.dumps({word: at for at, word in enumerate(entries)}))
        merges.write_text("#version: 0.2\n" + "".join(_merges(WORDS)))
        return CLIPTokenizer(str(vocabulary), str(merges), model_max_length=TOKENS)


def _merges(words: list[str]) -> list[str]:
    """The merges that put each word together from its letters, left to right."""
    rows: dict[str, None] = {}
    for word in words:
        letters = [*word[:-1], f"{word[-1]}</w>"]
        whole = letters[0]
        for letter in letters[1:]:
            rows[f"{whole} {letter}\n"] = None
            whole += letter
    return list(rows)


def _t5_tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import T5TokenizerFast

    entries = ["<pad>", "</s>", "<unk>", *WORDS]
    vocabulary = {word: at for at, word in enumerate(entries)}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    return T5TokenizerFast(tokenizer_object=made, model_max_length=TOKENS, extra_ids=0)


def _scheduler(name: str, **given: Any) -> Any:
    import diffusers

    betas: Parts = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    betas |= {} if name.startswith("CogVideoX") else {"steps_offset": 1}
    return getattr(diffusers, name)(**(given if name.startswith("Flow") else betas | given))


def _save(folder: Path, kind: str, parts: Parts) -> None:
    import diffusers

    for part in parts.values():
        if isinstance(part, torch.nn.Module):
            part.eval()
            _settle(part)
    extra = {"requires_safety_checker": False} if "safety_checker" in parts else {}
    getattr(diffusers, kind)(**parts, **extra).save_pretrained(folder, safe_serialization=True)


@torch.no_grad()
def _settle(module: torch.nn.Module) -> None:
    """Draw what a model starts at zero: layers that do nothing would hide what is done to them."""
    generator = torch.Generator().manual_seed(1)
    for weight in module.parameters():
        if not weight.any():
            weight.normal_(0, 0.05, generator=generator)
