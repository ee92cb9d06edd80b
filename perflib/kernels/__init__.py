"""The kernels that perflib measures, public names first: checked, documented, `out=None`.

matmul_naive, matmul_tiled, matmul_tiled_vectorised, matmul_ikj     (a, b, out=None[, tile=64])
matmul_register_blocked, matmul_packed                              (a, b, out=None)
matmul                                          (a, b, out=None, threads=1): the fast one, stacks and any layout too
rms_norm_standard, rms_norm_fast                                    (x, weight, eps=1e-5, out=None)
rms_norm                        (x, weight, eps=1e-5, out=None, residual=None, threads=1): the fast one
Blocks, Panels, pack, quantise, pack_q8_0; matvec; swiglu           weights of linear layers, times vectors; SwiGLU
Kernel, KERNELS, find; verify, WrongResult; aligned_empty           descriptions: how a kernel is measured and checked
"""

from ..errors import WrongResult
from .buffers import aligned_empty
from .catalog import KERNELS, find
from .decoder.blocks import Blocks
from .decoder.layers import swiglu
from .decoder.linear import matvec
from .decoder.panels import Panels, pack, pack_q8_0, quantise
from .description import Kernel, verify
from .gemm.blocked import matmul_packed, matmul_register_blocked
from .gemm.fast import matmul
from .gemm.textbook import matmul_ikj, matmul_naive, matmul_tiled, matmul_tiled_vectorised
from .rmsnorm.fast import rms_norm
from .rmsnorm.textbook import rms_norm_fast, rms_norm_standard

__all__ = ["matmul_naive", "matmul_tiled", "matmul_tiled_vectorised", "matmul_ikj"]
__all__ += ["matmul_register_blocked", "matmul_packed", "matmul", "rms_norm_standard", "rms_norm_fast", "rms_norm"]
__all__ += ["Blocks", "Panels", "pack", "pack_q8_0", "quantise", "matvec", "swiglu"]
__all__ += ["Kernel", "KERNELS", "find", "WrongResult", "aligned_empty", "verify"]
