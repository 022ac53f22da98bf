"""The schema of a run: frozen dataclasses, with units in the comments.

Recipes (`configs/*.py`) start from `default()`, an `ml_collections.ConfigDict` made from this schema and locked to
it, and set only what differs. `config_tree.from_dict` turns the result into the frozen `Config` that the rest of the
package sees, so nothing downstream needs defaults of its own. `config_rules.validate` checks the values.
"""

from __future__ import annotations

import dataclasses

from ml_collections import ConfigDict


class ConfigError(ValueError):
    """A mistake in the user's settings; the message names the field, the value, the rule and the fix."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig:
    source: str = "digits"  # digits | tfds: folder: archive: lsun: idx: cifar10: packed: unpaired: aligned: + PATH
    resolution: int = 32  # pixels; height of the training images, and width unless `width` is set
    width: int = 0  # pixels; 0 = square
    channels: int = 3  # 1 grey, 3 RGB, 4 RGBA; the source is converted
    # none (squash) | center (largest centred crop) | center:N (centred N x N pixels first) | random:N (in training:
    # squashed to N pixels of height, then a random part of the training images' size; elsewhere as none)
    crop: str = "center"
    flip: bool = False  # random horizontal flip, p = 0.5
    scaling: str = "symmetric"  # symmetric: 2x/255 - 1 | nnabla: x/128 - 1 + U(0, 1/128)
    paired: bool = False  # of two domains: image i of A comes with image i of B; False: in orders of their own
    labels: bool = True  # False: ignore the labels that the source has
    skip_corrupt: bool = False  # True: leave out unreadable images, counted and reported; False: stop at the first
    num_threads: int = 2  # reading threads per process
    prefetch: int = 2  # steps read ahead

    @property
    def height_width(self) -> tuple[int, int]:
        return self.resolution, self.width or self.resolution


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig:
    name: str = "resnet"  # resnet | dcgan | mlp; of methods that translate: cyclegan | unet
    conditional: bool = True  # class-conditional batch norm in G, projection in D; needs a labelled source
    latent_dim: int = 128  # size of z ~ N(0, I)
    g_channels: int = 64  # width of G's last block (dcgan: half of its last map); deeper ones follow the channel rule
    d_channels: int = 64  # width of D's first block
    g_widths: tuple[int, ...] = ()  # overrides the channel rule, bottom to top; () = rule
    d_widths: tuple[int, ...] = ()  # overrides the channel rule, first block to last; () = rule
    base_size: int = 4  # pixels; shorter side of G's first map, so the resolution is base_size * 2^k
    g_spectral_norm: str = "all"  # none | hidden (all but the output layer) | all
    d_spectral_norm: str = "all"
    sn_iters: int = 1  # power iterations per forward
    sn_eps: float = 1e-12
    attention_resolutions: tuple[int, ...] = ()  # shorter sides of the maps that get self-attention in both networks
    g_attention_resolutions: tuple[int, ...] = ()  # in addition, in G alone
    d_attention_resolutions: tuple[int, ...] = ()  # in addition, in D alone
    attention_kind: str = "pooled"  # pooled (authors' code) | plain (paper v1, nnabla)
    attention_span: int = -1  # plain only: masks the (2 span + 1)^2 window around each query; -1 = no mask
    bn_decay: float = 0.9  # running = decay * running + (1 - decay) * batch
    bn_eps: float = 1e-5
    bn_groups: int = 1  # equal parts of a batch that G normalises apart in training (ghost batch norm); 1 = whole
    remat: bool = False  # compute the blocks' activations again in the backward pass instead of keeping them
    # glorot | glorot_sqrt2 (x sqrt 2 on 3x3 residual convolutions) | orthogonal | normal | torch | torchgan
    init: str = "glorot"
    # resnet only
    d_wide: bool = True  # True: D's blocks widen in their first convolution (SAGAN); False: in their second (SNGAN)
    d_num_down: int = 0  # down-sampling blocks of D; 0 = down to base_size
    d_pool: str = "sum"  # sum | mean over the last map
    # dcgan only
    g_slope: float = 0.0  # leaky ReLU slope in G; 0 = ReLU
    d_slope: float = 0.2
    d_batch_norm: str = "inner"  # none | inner (not on the first layer) | all
    conv_bias: bool = False  # also cyclegan: bias also where a norm follows (parity with torchgan, Non-local SAGAN)
    last_activation: bool = True  # activation after the last hidden layer (torchgan's tutorial has none)
    d_tanh: bool = False  # tanh on D's output (torchgan's tutorial)
    bn_scale_mean: float = 1.0  # mean of the initial batch norm gain under init="normal"; the blog's DCGAN has 0
    sn_axis: str = "out"  # transposed convolutions: out | in (torchgan, Non-local SAGAN)
    # mlp only
    g_hidden: tuple[int, ...] = (256,)
    d_hidden: tuple[int, ...] = (128,)
    # cyclegan and unet only
    d_num_layers: int = 3  # convolutions of stride 2 in D; 3 = the 70x70 PatchGAN
    # cyclegan only
    num_res_blocks: int = 9  # of G; the original has 6 at 128 pixels and 9 at 256
    g_kernel: int = 3  # size of G's strided convolutions: 3 (original) | 4 (torchgan's tutorial)
    d_last_stride: int = 1  # of D's last hidden convolution: 1 (PatchGAN) | 2 (torchgan's tutorial)
    # unet only
    g_dropout: float = 0.5  # of the decoder blocks of full width but the innermost (three at 256 pixels), always on


@dataclasses.dataclass(frozen=True, kw_only=True)
class MethodConfig:
    name: str = "adversarial"  # adversarial (latents to images) | cyclegan | pix2pix (images to images)
    loss: str = "hinge"  # hinge | non_saturating | minimax | least_squares | wasserstein
    penalty: str = "none"  # none | wgan_gp | dragan | r1 | r2 | r1_r2
    penalty_weight: float = 10.0  # lambda of the gradient penalty; gamma (halved) of r1, r2
    weight_clip: float = 0.0  # D's parameters are clipped to [-c, c] after each update; 0 = off
    d_loss_scale: float = 1.0  # the blog's GANs train D on half the sum
    joint_forward: bool = True  # D sees real and fake in one forward (interleaved); False: two, real first
    d_stats_in_g_step: bool = True  # D's spectral vectors and running statistics advance in the G phase too
    reuse_latents: bool = False  # the G phase reuses z and labels of the last D phase (the blog's GANs)
    fake_labels: str = "uniform"  # uniform | without_replacement (nnabla; needs batch_size <= classes) | data (as real)
    # cyclegan and pix2pix only
    gan_weight: float = 1.0  # of the adversarial loss in each G
    paired_l1_weight: float = 0.0  # of |G(a) - b|, where the data is paired; pix2pix has 100
    # cyclegan only
    cycle_weight: float = 10.0  # of |G_ba(G_ab(a)) - a| and |G_ab(G_ba(b)) - b|
    identity_weight: float = 5.0  # of |G_ab(b) - b| and |G_ba(a) - a|
    pool_size: int = 50  # earlier translations per domain that D sees again; 0 = none
    # pix2pix only
    direction: str = "a2b"  # a2b | b2a


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimConfig:
    name: str = "adam"  # adam | rmsprop | sgd
    lr: float = 1e-4
    b1: float = 0.0  # adam's b1; momentum of sgd
    b2: float = 0.999  # adam's b2; decay of rmsprop
    eps: float = 1e-8
    schedule: str = "constant"  # constant | linear | cosine
    warmup_steps: int = 0  # updates of this network over which lr rises linearly from 0
    decay_begin: int = 0  # updates of this network before the decay starts
    decay_steps: int = 0  # updates of this network that the decay takes; needed by linear and cosine
    end_factor: float = 0.0  # lr at the end of the decay, as a fraction of lr
    grad_clip_norm: float = 0.0  # global norm of the gradients; 0 = no clipping


@dataclasses.dataclass(frozen=True, kw_only=True)
class EmaConfig:
    halflife_images: float = 0.0  # images after which a weight's contribution has halved; 0 = no EMA
    start_step: int = 0  # until then the average is a copy


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckpointConfig:
    every_steps: int = 1_000
    keep: int = 2  # the newest ones
    keep_every: int = 0  # steps; additionally every multiple of it for ever; 0 = off
    keep_best: int = 1  # additionally the best by `best_metric`, where evaluations report it; 0 = off
    best_metric: str = "fid"
    best_is_lower: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class SampleConfig:
    every_steps: int = 1_000  # 0 = never
    rows: int = 10  # classes shown (evenly spaced), or rows of an unconditional grid
    columns: int = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class LogConfig:
    every_steps: int = 50
    epochs: bool = False  # also the mean of every metric over each pass through the data
    profile_step: int = 0  # first step of a profile trace; 0 = none
    profile_num_steps: int = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvalConfig:
    every_steps: int = 0  # 0 = never
    num_samples: int = 50_000  # generated images
    num_reference: int = 0  # real images, spread evenly over data.source; 0 = all
    metrics: tuple[str, ...] = ("fid",)  # some of fid, is, kid, prdc, intra_fid, cas
    extractor: str = "inception"  # inception | classifier (a small one, trained on the labelled data first)
    inception_weights: str = ""  # file; "" = $JAXGAN_INCEPTION_WEIGHTS, else downloaded once and cached
    feature_dims: int = 2048  # of Inception: 64 | 192 | 768 | 2048
    resizer: str = "tf1"  # to Inception's 299 pixels: tf1 | bilinear | clean


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeshConfig:
    data: int = 0  # groups of devices, each with a whole state; 0 = all devices / fsdp
    fsdp: int = 1  # devices of a group: they divide large arrays of its state among them, and its part of the batch
    fsdp_min_size: int = 2**18  # elements; smaller arrays lie whole on every device
    unroll_d_steps: str = "auto"  # auto (unrolled on CPU, scanned elsewhere) | always | never

    def shape(self, num_devices: int, num_processes: int = 1) -> tuple[int, int]:
        """Returns the sizes of the axes "data" and "fsdp" on so many devices; raises ConfigError if they do not fit."""
        data, fsdp = self.data or num_devices // max(self.fsdp, 1), self.fsdp
        if fsdp < 1 or num_devices % fsdp:
            divisors = ", ".join(str(n) for n in range(1, num_devices + 1) if num_devices % n == 0)
            raise ConfigError(
                f"config.mesh.fsdp (={fsdp}) must divide the number of devices (={num_devices}); try one of {divisors}."
            )
        if not 0 < data * fsdp <= num_devices:
            raise ConfigError(
                f"config.mesh.data (={data}) times config.mesh.fsdp (={fsdp}) must lie between 1 and the number of "
                f"devices (={num_devices}); set config.mesh.data=0 to use them all."
            )
        if num_processes > 1 and data * fsdp != num_devices:
            raise ConfigError(
                f"config.mesh.data (={data}) must be 0 or {num_devices // fsdp} when several processes train together, "
                f"so that all {num_devices} devices take part; set it to 0."
            )
        return data, fsdp


@dataclasses.dataclass(frozen=True, kw_only=True)
class HealthConfig:
    max_rollbacks: int = 2  # to a healthy checkpoint, per run; beyond that the run stops with a diagnosis
    rollback_lr_factor: float = 0.5  # both learning rates are multiplied by it after each rollback
    # |mean logit of real - of fake images|; 0 = off. Not watched where logits have no scale: wasserstein, own losses
    max_logit_gap: float = 50.0
    max_grad_norm_ratio: float = 100.0  # a network's gradient norm over its median of good steps; 0 = off
    window: int = 200  # good steps which that median is taken over; nothing is judged before there are as many
    patience: int = 100  # steps in a row beyond one of these limits before a rollback; the first one is warned of
    min_diversity: float = 0.1  # of the sample grid, as a fraction of that of real images; 0 = off
    diversity_from_step: int = 1_000  # grids before it are not judged: a young G draws alike images
    diversity_patience: int = 3  # grids in a row below min_diversity before a rollback; the first one is warned of


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    seed: int = 0
    total_steps: int = 100_000  # updates of G
    batch_size: int = 64  # images per update of D, over all devices and processes
    num_d_steps: int = 1  # updates of D per update of G, each on fresh data
    # Parts of a batch that D takes one after the other, to save memory; gradients, statistics and losses stay those of
    # the whole batch
    num_microbatches: int = 1
    dtype: str = "float32"  # float32 | bfloat16: of activations; parameters, statistics, logits and losses stay float32
    model: ModelConfig = ModelConfig()
    method: MethodConfig = MethodConfig()
    g_optim: OptimConfig = OptimConfig(lr=1e-4)
    d_optim: OptimConfig = OptimConfig(lr=4e-4)
    ema: EmaConfig = EmaConfig()
    data: DataConfig = DataConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    sample: SampleConfig = SampleConfig()
    log: LogConfig = LogConfig()
    eval: EvalConfig = EvalConfig()
    mesh: MeshConfig = MeshConfig()
    health: HealthConfig = HealthConfig()


TRANSLATING = ("cyclegan", "pix2pix")  # methods from images of one domain to another


def default() -> ConfigDict:
    """Returns the schema's defaults as a locked ConfigDict: unknown fields and wrong types are errors."""
    return ConfigDict(dataclasses.asdict(Config())).lock()
