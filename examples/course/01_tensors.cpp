// Lesson 1: a tensor is a flat array, a shape, and the context it lives in.
//
// A Context owns a device, the memory of all its tensors and the threads that work on them; there is no global one. Copying a
// Tensor copies the handle, as in PyTorch; operations are functions in `retort::ops` and never change what goes in.
#include "lesson.h"
#include "retort/core/ops.h"

#include <numeric>

int main() {
  retort::Context context;  // the CPU, all threads this process may use
  std::vector<float> values(12);
  std::iota(values.begin(), values.end(), 0.0f);  // 0 1 2 ... 11

  const auto x = retort::Tensor::from(context, {3, 4}, values);  // row-major: row i begins at element 4 i
  const auto w = retort::Tensor::full(context, {2, 4}, 0.5f);
  const auto y = retort::ops::linear(x, w, {});  // (3, 4) times (2, 4) transposed: (3, 2)
  fmt::print("x is {}, y = x w^T is {}\n", x, y);

  course::Lesson lesson;
  const auto y_values = y.to_vector();
  for (int row = 0; row < 3; ++row) {
    double by_hand = 0;
    for (int column = 0; column < 4; ++column) by_hand += 0.5 * values[static_cast<std::size_t>(4 * row + column)];
    lesson.expect("y[row, 0]", y_values[static_cast<std::size_t>(2 * row)], by_hand, 1e-6);
  }

  const auto same = x;           // another handle to the same numbers
  const auto other = x.clone();  // numbers of its own
  x.zero();
  lesson.expect("sum of the second handle, after x.zero()", retort::ops::sum(same).item(), 0, 0);
  lesson.expect("sum of the clone", retort::ops::sum(other).item(), 66, 0);

  // Shapes that do not fit are refused with the shapes in the message.
  try {
    retort::ops::add(x, y);
    lesson.expect("adding (3, 4) and (3, 2) is refused", 0, 1, 0);
  } catch (const retort::Error& error) {
    fmt::print("  refused: {}\n", error.what());
  }
  return lesson.end();
}
