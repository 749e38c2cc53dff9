// How the kernels of this folder look at raw memory, and how they cut their work.
#pragma once

#include <Eigen/Core>

#include <cstdint>

namespace retort::eigen {

/// Elements of one task of an element-wise kernel: 64 KB, large beside the cost of handing out a task, small beside the L2 cache.
inline constexpr std::int64_t grain = 16384;

using Array = Eigen::Map<Eigen::ArrayXf>;
using ConstArray = Eigen::Map<const Eigen::ArrayXf>;

inline Array array(float* data, std::int64_t n) { return {data, n}; }
inline ConstArray array(const float* data, std::int64_t n) { return {data, n}; }

/// Rows of `columns` elements that make about one task's work; at least one.
inline std::int64_t rows_per_task(std::int64_t columns) { return columns >= grain ? 1 : grain / (columns > 0 ? columns : 1); }

}  // namespace retort::eigen
