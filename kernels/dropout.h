// Contract: dropout with a Philox mask. Element i is kept when u_i >= p, u_i the i-th uniform of `key` (philox.h), and then
// scaled by 1/(1-p); p in [0, 1). The mask is the same bit for bit on every device and is drawn again in backward, not stored.
#pragma once

#include "retort/kernels/philox.h"
#include "retort/kernels/stream.h"

#include <cstdint>

namespace retort {

struct DropoutKernels {
  static constexpr const char* op = "dropout";
  /// y = mask * x; x, y: (n). Also its own backward (x = dy, y = dx). y may be x.
  void (*apply)(Stream&, std::int64_t n, float p, const PhiloxKey& key, const float* x, float* y);
  /// mask: (n) overwritten with 0 or 1/(1-p).
  void (*mask)(Stream&, std::int64_t n, float p, const PhiloxKey& key, float* mask);
};

}  // namespace retort
