// Where the time of a training step goes. Every CPU kernel in use is replaced in the registry by one that calls it and keeps the
// time, or by one that does nothing, so that what is left is the engine: graph, memory, dispatch.
//
// The floor of a kernel call is the larger of two times that the machine's measured roof (bench/kernels/roof.h) allows: its
// multiply-adds at the peak rate, and the bytes of its arguments, each array once, at the bandwidth of a triad over as many bytes
// (so that what fits into a cache is measured against that cache). Multiply-adds with a gradient that is zero, behind a ReLU and
// a pooling, are not counted.
#pragma once

#include "retort/bench/kernels/roof.h"
#include "retort/kernels/batch_norm_pool.h"
#include "retort/kernels/conv2d.h"
#include "retort/kernels/conv_block.h"
#include "retort/kernels/copy.h"
#include "retort/kernels/dropout.h"
#include "retort/kernels/elementwise.h"
#include "retort/kernels/linear.h"
#include "retort/kernels/normalize.h"
#include "retort/kernels/optimizer.h"
#include "retort/kernels/recurrent.h"
#include "retort/kernels/reduce.h"
#include "retort/kernels/registry.h"
#include "retort/kernels/softmax.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

namespace retort::bench {

struct Cost {
  std::int64_t from, to;         ///< what tells the layers apart: sizes of a sample's input and output
  double flops = 0, floats = 0;  ///< floats read or written
};

/// One row of the table: a kernel at one shape.
struct Meter {
  std::string name;
  std::int64_t from, to;
  double flops = 0, bytes = 0, floor = 0;  ///< sums over the calls; floor in seconds
  std::vector<double> seconds{};           ///< of each call
};

enum class Metering {
  time,
  skip,  ///< kernels do nothing
};

/// Replaces kernels, once and for the rest of the program.
class Meters {
 public:
  Meters(Metering metering, int threads) : metering_(metering) {
    if (metering == Metering::time) machine() = std::make_unique<Machine>(threads);
    wrap_products();
    wrap_layers();
    wrap_rest();
  }

  static std::vector<Meter>& rows() {
    static std::vector<Meter> rows;
    return rows;
  }
  static std::unique_ptr<Machine>& machine() {
    static std::unique_ptr<Machine> machine;
    return machine;
  }

 private:
  static void enter(const std::string& name, const Cost& cost, double seconds) {
    auto row =
        std::ranges::find_if(rows(), [&](const Meter& m) { return m.from == cost.from && m.to == cost.to && m.name == name; });
    if (row == rows().end()) row = rows().insert(row, {name, cost.from, cost.to});
    row->seconds.push_back(seconds);
    row->flops += cost.flops;
    row->bytes += 4 * cost.floats;
    row->floor += std::max(cost.flops / machine()->flops(), 4 * cost.floats / machine()->bandwidth(4 * cost.floats));
  }

  template <auto member, class CostOf>
  struct Wrapper;
  template <class Kernels, class... Args, void (*Kernels::*member)(Args...), class CostOf>
  struct Wrapper<member, CostOf> {
    static inline void (*original)(Args...) = nullptr;
    static inline std::string name;

    static void timed(Args... args) {
      const auto begin = std::chrono::steady_clock::now();
      original(args...);
      enter(name, CostOf{}(args...), std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    }
    static void nothing(Args...) {}
  };

  /// One contract with some of its functions replaced.
  template <class Kernels>
  class Table {
   public:
    explicit Table(Metering metering) : metering_(metering), kernels_(kernel<Kernels>(Device::cpu)) {}
    ~Table() { KernelTable<Kernels>::instance().add(Device::cpu, "metered", 1000, kernels_); }

    template <auto member, class CostOf>
    Table& wrap(std::string_view what, CostOf) {
      using W = Wrapper<member, CostOf>;
      W::name = fmt::format("{} {}", Kernels::op, what);
      W::original = kernels_.*member;
      kernels_.*member = metering_ == Metering::skip ? W::nothing : W::timed;
      return *this;
    }

   private:
    Metering metering_;
    Kernels kernels_;
  };

  /// For maps: `arrays` arrays of n floats.
  static Cost elements(std::int64_t n, int arrays) { return {n, n, 0, static_cast<double>(n) * arrays}; }
  /// For a pass over some planes, and their pooled one.
  static Cost pooled(const MaxPool2dShape& z, int planes) {
    const std::int64_t x = z.n * z.c * z.h * z.w, y = z.n * z.c * z.oh() * z.ow();
    return {x / z.n, y / z.n, 0, static_cast<double>(planes * x + y)};
  }
  static double non_zero(std::int64_t n, const float* values) {
    return static_cast<double>(n - std::count(values, values + n, 0.0f));
  }

  void wrap_products();
  void wrap_layers();
  void wrap_rest();

  Metering metering_;
};

inline void Meters::wrap_products() {
  Table<LinearKernels>(metering_)
      .wrap<&LinearKernels::forward>(
          "forward",
          [](Stream&, const LinearShape& z, auto...) {
            const std::int64_t floats = z.rows * z.in + z.in * z.out + z.rows * z.out;
            return Cost{z.in, z.out, 2.0 * static_cast<double>(z.rows * z.in * z.out), static_cast<double>(floats)};
          })
      .wrap<&LinearKernels::backward>("backward", [](Stream&, const LinearShape& z, const float*, const float*, const float* y,
                                                     const float*, float* dx, float beta, float* dw, float*) {
        const std::int64_t products = (dx != nullptr) + (dw != nullptr), gradients = (y != nullptr ? 2 : 1) * z.rows * z.out;
        const std::int64_t floats = z.rows * z.in + gradients + (dx != nullptr ? z.in * z.out + z.rows * z.in : 0) +
                                    (dw != nullptr ? (beta == 0 ? 1 : 2) * z.in * z.out : 0);
        return Cost{z.in, z.out, 2.0 * static_cast<double>(products * z.rows * z.in * z.out), static_cast<double>(floats)};
      });
  Table<Conv2dKernels>(metering_)
      .wrap<&Conv2dKernels::forward>(
          "forward",
          [](Stream&, const Conv2dShape& z, auto...) {
            const std::int64_t x = z.n * z.c * z.h * z.w, y = z.n * z.k * z.oh() * z.ow();
            return Cost{x / z.n, y / z.n, 2.0 * static_cast<double>(y * z.c * z.r * z.s), static_cast<double>(x + y)};
          })
      .wrap<&Conv2dKernels::backward>("backward", [](Stream&, const Conv2dShape& z, const float*, const float*, const float* dy,
                                                     float* dx, float* dw, float*) {
        const std::int64_t x = z.n * z.c * z.h * z.w, y = z.n * z.k * z.oh() * z.ow(),
                           products = (dx != nullptr) + (dw != nullptr);
        return Cost{x / z.n, y / z.n, 2 * static_cast<double>(products * z.c * z.r * z.s) * non_zero(y, dy),
                    static_cast<double>(products * x + y)};
      });
  Table<ConvBlockKernels>(metering_).wrap<&ConvBlockKernels::forward>("forward", [](Stream&, const ConvBlockShape& z, auto...) {
    const Conv2dShape& conv = z.conv;
    const std::int64_t x = conv.n * conv.c * conv.h * conv.w, y = conv.n * conv.k * z.oh() * z.ow();
    // What no window covers need not be computed.
    const std::int64_t covered = y * std::min(z.pool_h, z.pool_stride_h) * std::min(z.pool_w, z.pool_stride_w);
    return Cost{x / conv.n, y / conv.n, 2.0 * static_cast<double>(covered * conv.c * conv.r * conv.s),
                static_cast<double>(x + y)};
  });
  Table<MatmulKernels>(metering_).wrap<&MatmulKernels::forward>("", [](Stream&, const MatmulShape& z, auto...) {
    return Cost{z.k, z.n, 2.0 * static_cast<double>(z.m * z.n * z.k), static_cast<double>(z.m * z.k + z.k * z.n + z.m * z.n)};
  });
}

inline void Meters::wrap_layers() {
  Table<BatchNormKernels>(metering_)
      .wrap<&BatchNormKernels::forward_train>(
          "forward", [](Stream&, const BatchNormShape& z, auto...) { return elements(z.n * z.c * z.spatial, 2); })
      .wrap<&BatchNormKernels::forward_eval>(
          "eval", [](Stream&, const BatchNormShape& z, auto...) { return elements(z.n * z.c * z.spatial, 2); })
      .wrap<&BatchNormKernels::backward_train>("backward", [](Stream&, const BatchNormShape& z, auto...) {
        return elements(z.n * z.c * z.spatial, z.activation == Activation::relu ? 4 : 3);
      });
  Table<BatchNormPoolKernels>(metering_)
      .wrap<&BatchNormPoolKernels::forward_train>("forward",
                                                  [](Stream&, const BatchNormPoolShape& z, auto...) { return pooled(z.pool, 1); })
      .wrap<&BatchNormPoolKernels::backward_train>(
          "backward", [](Stream&, const BatchNormPoolShape& z, auto...) { return pooled(z.pool, 2); });
  Table<MaxPool2dKernels>(metering_)
      .wrap<&MaxPool2dKernels::forward>(
          "forward",
          [](Stream&, const MaxPool2dShape& z, const float*, float*, std::int32_t* argmax) {
            const std::int64_t y = z.n * z.c * z.oh() * z.ow(),
                               read = y * std::min(z.kernel_h * z.kernel_w, z.stride_h * z.stride_w);
            return Cost{z.c * z.h * z.w, y / z.n, 0, static_cast<double>(read + (argmax != nullptr ? 2 : 1) * y)};
          })
      .wrap<&MaxPool2dKernels::backward>("backward", [](Stream&, const MaxPool2dShape& z, auto...) {
        const std::int64_t x = z.n * z.c * z.h * z.w, y = z.n * z.c * z.oh() * z.ow();
        return Cost{x / z.n, y / z.n, 0, static_cast<double>(x + 2 * y)};
      });
  Table<OptimizerKernels>(metering_)
      .wrap<&OptimizerKernels::adam_ema>(
          "adam", [](Stream&, std::int64_t n, const AdamHyper&, const std::int32_t*, float*, const float*, float*, float*,
                     float* teacher) { return elements(n, teacher != nullptr ? 9 : 7); })
      .wrap<&OptimizerKernels::ema>("ema", [](Stream&, std::int64_t n, auto...) { return elements(n, 3); })
      .wrap<&OptimizerKernels::advance>("advance", [](auto&&...) {
        return Cost{1, 1};
      });
}

inline void Meters::wrap_rest() {
  Table<UnaryKernels>(metering_)
      .wrap<&UnaryKernels::forward>("forward", [](Stream&, Unary, std::int64_t n, auto...) { return elements(n, 2); })
      .wrap<&UnaryKernels::backward>("backward", [](Stream&, Unary, std::int64_t n, auto...) { return elements(n, 3); });
  Table<BinaryKernels>(metering_)
      .wrap<&BinaryKernels::forward>(
          "forward", [](Stream&, Binary, const BinaryShape& z, auto...) { return elements(z.rows * z.columns, 3); })
      .wrap<&BinaryKernels::backward>(
          "backward", [](Stream&, Binary, const BinaryShape& z, auto...) { return elements(z.rows * z.columns, 3); });
  Table<ScaleKernels>(metering_).wrap<&ScaleKernels::forward>(
      "", [](Stream&, std::int64_t n, float, const float*, float beta, float*) { return elements(n, beta != 0 ? 3 : 2); });
  Table<DropoutKernels>(metering_)
      .wrap<&DropoutKernels::apply>("apply", [](Stream&, std::int64_t n, auto...) { return elements(n, 2); })
      .wrap<&DropoutKernels::mask>("mask", [](Stream&, std::int64_t n, auto...) { return elements(n, 1); });
  const auto by_rows = [](Stream&, std::int64_t n, std::int64_t columns, auto...) { return elements(n * columns, 2); };
  Table<CopyKernels>(metering_)
      .wrap<&CopyKernels::strided>("strided", by_rows)
      .wrap<&CopyKernels::gather>("gather", by_rows)
      .wrap<&CopyKernels::gather_labels>("labels", [](Stream&, std::int64_t n, auto...) { return elements(n, 2); });
  Table<LogSoftmaxKernels>(metering_)
      .wrap<&LogSoftmaxKernels::forward>("forward", by_rows)
      .wrap<&LogSoftmaxKernels::backward>("backward", by_rows);
  Table<CrossEntropyKernels>(metering_).wrap<&CrossEntropyKernels::forward>("", by_rows);
  Table<DistillKlKernels>(metering_).wrap<&DistillKlKernels::forward>("", by_rows);
  Table<MultitaskDistillKernels>(metering_).wrap<&MultitaskDistillKernels::forward>(
      "", [](Stream&, const MultitaskShape& z, auto...) { return elements(z.rows * (z.classes1 + z.classes2), 3); });
  Table<L2NormalizeKernels>(metering_)
      .wrap<&L2NormalizeKernels::forward>("forward", by_rows)
      .wrap<&L2NormalizeKernels::backward>("backward", by_rows);
}

}  // namespace retort::bench
