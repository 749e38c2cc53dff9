// One row of the table of op benches: an operation at one shape, what it reads and writes, how many flops and bytes that takes,
// and every way of doing it that this build has. The row knows nothing of the device: its arrays are made on the host and copied
// there.
#pragma once

#include "retort/kernels/registry.h"
#include "retort/kernels/stream.h"

#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace retort::bench {

using Floats = std::vector<float>;
using Ints = std::vector<std::int32_t>;

/// What a row reads (in, ints) and writes (out, int_out), with its first contents: some outputs are accumulated.
struct Arrays {
  std::vector<Floats> in, out;
  std::vector<Ints> ints{}, int_out{};
};

/// The same on a device.
class DeviceArrays {
 public:
  DeviceArrays(Device device, const Arrays& host);
  ~DeviceArrays();
  DeviceArrays(const DeviceArrays&) = delete;
  DeviceArrays& operator=(const DeviceArrays&) = delete;

  std::vector<float*> in, out;
  std::vector<std::int32_t*> ints, int_out;

  /// Copies the outputs back into `host`, whose arrays have their sizes.
  void fetch(Arrays& host) const;

 private:
  template <class T>
  T* upload(const std::vector<T>& values);
  const DeviceMemory& memory_;
  std::vector<void*> blocks_;
};

/// Random contents, the same in every run.
class Draw {
 public:
  Floats normal(std::int64_t n, float scale = 1);
  Floats positive(std::int64_t n);
  /// Zero but for about `share` of the elements of every `rows`-th row: what comes back through a ReLU and a (1,2)/2 pooling.
  Floats sparse(std::int64_t n, std::int64_t columns, std::int64_t rows, double share);
  Ints labels(std::int64_t rows, int classes);

 private:
  std::mt19937 random_{20240717};
};

inline Floats zeros(std::int64_t n) { return Floats(static_cast<std::size_t>(n)); }

/// Does the work once. Launches only: whoever times it waits for the stream.
using Run = std::function<void(Stream&, DeviceArrays&)>;

/// A library's way of doing the same. The first call of a Run may convert layouts and prepare; later calls may not need to.
struct Twin {
  std::string name;
  std::function<Run(int threads)> make;  ///< host only
};

struct OpBench {
  std::string op, name;         ///< "linear", "linear_64x1216_1024/forward"
  double flops = 0, bytes = 0;  ///< what the operation needs, whoever does it
  std::function<Arrays(Draw&)> make;
  std::function<Run(Device, const std::string& implementation)> bind;
  std::function<std::vector<std::string>(Device)> implementations;
  std::vector<Twin> twins{};
  double tolerance = 1e-5;  ///< on ‖out - ref‖ / ‖ref‖; integers must be equal
};

/// A row; call(kernels, stream, arrays) puts the arguments in order.
template <class Kernels, class Call>
OpBench op_bench(std::string name, double flops, double bytes, std::function<Arrays(Draw&)> make, Call call) {
  OpBench row{.op = Kernels::op,
              .name = std::move(name),
              .flops = flops,
              .bytes = bytes,
              .make = std::move(make),
              .bind = {},
              .implementations = {}};
  row.bind = [call](Device device, const std::string& implementation) -> Run {
    const Kernels& kernels = KernelTable<Kernels>::instance().get(device, implementation);
    return [call, &kernels](Stream& stream, DeviceArrays& arrays) { call(kernels, stream, arrays); };
  };
  row.implementations = [](Device device) { return KernelTable<Kernels>::instance().info(device).names; };
  return row;
}

struct Twins;  // twins.h

/// Every op at the shapes it has in MTL-net and its rivals with this many windows.
std::vector<OpBench> op_table(std::int64_t batch, const Twins& twins);

// Its parts.
void add_layer_rows(std::vector<OpBench>& table, std::int64_t batch, const Twins& twins);
void add_other_rows(std::vector<OpBench>& table, std::int64_t batch);
void add_recurrent_rows(std::vector<OpBench>& table, std::int64_t batch);

/// Runs the row once and compares with the reference on the host. Empty, or what is wrong.
std::string check_row(const OpBench& row, const Arrays& before, const Run& run, Stream& stream, DeviceArrays& arrays);

}  // namespace retort::bench
