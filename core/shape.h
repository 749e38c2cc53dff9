// Sizes of a tensor: up to six dimensions, kept inline so that making a tensor allocates nothing for them.
#pragma once

#include "retort/core/error.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

namespace retort {

enum class DType { f32, i32 };

inline constexpr std::size_t item_size = 4;  ///< both types take four bytes
inline std::string_view name(DType type) { return type == DType::f32 ? "float32" : "int32"; }

/// Row-major (C order) sizes; Shape{} is a scalar with one element. No product of sizes overflows, also not without those that
/// are zero: the constructors throw Error.
class Shape {
 public:
  static constexpr int max_rank = 6;

  Shape() = default;
  Shape(std::initializer_list<std::int64_t> sizes) : Shape(std::span(sizes.begin(), sizes.size())) {}
  explicit Shape(std::span<const std::int64_t> sizes) : rank_(static_cast<int>(sizes.size())) {
    check(sizes.size() <= max_rank, "shape: {} dimensions, at most {} are supported", sizes.size(), max_rank);
    std::int64_t bytes = item_size;
    for (int i = 0; i < rank_; ++i) {
      check(sizes[i] >= 0, "shape: size {} in dimension {} is negative", sizes[i], i);
      check(!__builtin_mul_overflow(bytes, std::max<std::int64_t>(sizes[i], 1), &bytes),
            "shape: ({}) is more than any memory holds", fmt::join(sizes, ", "));
      sizes_[i] = sizes[i];
    }
  }

  int rank() const { return rank_; }
  /// Size of dimension i; negative i counts from the end.
  std::int64_t operator[](int i) const { return sizes_[i < 0 ? i + rank_ : i]; }
  std::int64_t count() const {
    std::int64_t n = 1;
    for (int i = 0; i < rank_; ++i) n *= sizes_[i];
    return n;
  }
  std::span<const std::int64_t> sizes() const { return {sizes_.data(), static_cast<std::size_t>(rank_)}; }
  bool operator==(const Shape& other) const { return std::ranges::equal(sizes(), other.sizes()); }

  /// "(64, 1, 3, 100)", as it stands in every error message.
  std::string str() const { return rank_ == 1 ? fmt::format("({},)", sizes_[0]) : fmt::format("({})", fmt::join(sizes(), ", ")); }

 private:
  std::array<std::int64_t, max_rank> sizes_{};
  int rank_ = 0;
};

}  // namespace retort

/// A Shape in a message is only turned into text when the message is: `check(ok, "input {}", x.shape())` costs nothing.
template <>
struct fmt::formatter<retort::Shape> : fmt::formatter<std::string_view> {
  template <class FormatContext>
  auto format(const retort::Shape& shape, FormatContext& context) const {
    return fmt::formatter<std::string_view>::format(shape.str(), context);
  }
};
