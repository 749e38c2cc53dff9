// Which instruction sets the kernels of this folder are compiled for. Every source file includes this before Highway. Each set is
// one more compilation of everything, so only those that make a difference stay: AVX2, AVX-512, NEON. A processor with none of
// them gets Highway's scalar set, for which nothing is registered: the Eigen kernels serve there. SVE is left out because its
// vectors have no fixed size and cannot be kept in arrays of registers.
#pragma once

#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#include <hwy/detect_targets.h>
