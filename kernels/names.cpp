// The enums of this room as text, for messages, flags and logs.
#include "retort/kernels/check.h"
#include "retort/kernels/device.h"
#include "retort/kernels/elementwise.h"
#include "retort/kernels/reduce.h"

namespace retort {

std::string_view name(Device device) {
  switch (device) {
    case Device::cpu:
      return "cpu";
    case Device::cuda:
      return "cuda";
    case Device::cuda_sim:
      return "cuda_sim";
  }
  return "?";
}

Device parse_device(std::string_view text) {
  for (int i = 0; i < device_count; ++i)
    if (text == name(static_cast<Device>(i))) return static_cast<Device>(i);
  fail<InputError>("device '{}' is not known; choose cpu, cuda or cuda_sim", text);
}

std::string_view name(Unary op) {
  switch (op) {
    case Unary::relu:
      return "relu";
    case Unary::exp:
      return "exp";
    case Unary::log:
      return "log";
    case Unary::tanh:
      return "tanh";
    case Unary::sigmoid:
      return "sigmoid";
  }
  return "?";
}

std::string_view name(Binary op) {
  switch (op) {
    case Binary::add:
      return "add";
    case Binary::sub:
      return "sub";
    case Binary::mul:
      return "mul";
  }
  return "?";
}

std::string_view name(Reduction op) {
  switch (op) {
    case Reduction::sum:
      return "sum";
    case Reduction::mean:
      return "mean";
    case Reduction::l1:
      return "l1";
  }
  return "?";
}

}  // namespace retort
