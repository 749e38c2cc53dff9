// The five logged numbers as one tensor, for methods that build their loss from several operations.
#pragma once

#include "retort/core/ops.h"

namespace retort {

/// (5): total, ce1, ce2, kl1, kl2 from scalars, outside the graph; an undefined scalar is logged as 0.
Tensor logged_values(const Tensor& total, const Tensor& ce1, const Tensor& ce2, const Tensor& kl1, const Tensor& kl2);

}  // namespace retort
