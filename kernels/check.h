// Errors and the one way to raise them.
//
// Every message is one line that says what is wrong, with the numbers in it, and what to do when that is not obvious:
//   conv2d: weight (32,1,1,9) expects 1 input channel, input has 3
// The class decides the exit code of the command: Error and InputError 2 (the caller's or the user's mistake), DeviceError 3.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <utility>

namespace retort {

/// A misuse of the engine: shapes that do not fit, a freed graph, an unknown name.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Something the user gave us is wrong: a file, a flag, a configuration. Names the file and line or byte where there is one.
class InputError : public Error {
 public:
  using Error::Error;
};

/// A device is missing, failed, or ran out of memory.
class DeviceError : public Error {
 public:
  using Error::Error;
};

template <class Exception = Error, class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw Exception(fmt::format(format, std::forward<Args>(args)...));
}

/// Throws `Exception` with the formatted message unless `ok`. The message is only built on failure.
template <class Exception = Error, class... Args>
inline void check(bool ok, fmt::format_string<Args...> format, Args&&... args) {
  if (!ok) [[unlikely]]
    fail<Exception>(format, std::forward<Args>(args)...);
}

}  // namespace retort
