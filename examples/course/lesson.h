// What the lessons of this course share: a table of "this should equal that", and an exit code that says whether it did.
#pragma once

#include <fmt/core.h>

#include <cmath>

namespace course {

/// Prints both numbers and remembers whether they agree to `tolerance`, relative to the expected one (absolute below 1).
class Lesson {
 public:
  void expect(const char* what, double got, double expected, double tolerance) {
    const bool good = std::abs(got - expected) <= tolerance * std::fmax(1.0, std::abs(expected));
    fmt::print("  {:<52} {:>14.7g}   expected {:>14.7g}   {}\n", what, got, expected, good ? "ok" : "WRONG");
    wrong_ += good ? 0 : 1;
  }
  /// For main to return.
  int end() const { return wrong_ == 0 ? 0 : 1; }

 private:
  int wrong_ = 0;
};

}  // namespace course
