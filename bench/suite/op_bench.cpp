#include "retort/bench/suite/op_bench.h"

#include <cmath>

namespace retort::bench {
namespace {

double relative_error(const Floats& actual, const Floats& expected) {
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    difference += std::pow(static_cast<double>(actual[i]) - expected[i], 2);
    size += std::pow(static_cast<double>(expected[i]), 2);
  }
  return std::sqrt(difference / (size > 0 ? size : 1));
}

}  // namespace

template <class T>
T* DeviceArrays::upload(const std::vector<T>& values) {
  const std::size_t bytes = values.size() * sizeof(T);
  void* block = memory_.allocate(bytes);
  blocks_.push_back(block);
  memory_.copy_from_host(block, values.data(), bytes);
  return static_cast<T*>(block);
}

DeviceArrays::DeviceArrays(Device device, const Arrays& host) : memory_(memory(device)) {
  for (const auto& values : host.in) in.push_back(upload(values));
  for (const auto& values : host.out) out.push_back(upload(values));
  for (const auto& values : host.ints) ints.push_back(upload(values));
  for (const auto& values : host.int_out) int_out.push_back(upload(values));
}

DeviceArrays::~DeviceArrays() {
  for (void* block : blocks_) memory_.release(block);
}

void DeviceArrays::fetch(Arrays& host) const {
  for (std::size_t i = 0; i < out.size(); ++i)
    memory_.copy_to_host(host.out[i].data(), out[i], host.out[i].size() * sizeof(float));
  for (std::size_t i = 0; i < int_out.size(); ++i)
    memory_.copy_to_host(host.int_out[i].data(), int_out[i], host.int_out[i].size() * sizeof(std::int32_t));
}

Floats Draw::normal(std::int64_t n, float scale) {
  std::normal_distribution<float> draw(0, scale);
  Floats values(static_cast<std::size_t>(n));
  for (float& value : values) value = draw(random_);
  return values;
}

Floats Draw::positive(std::int64_t n) {
  Floats values = normal(n);
  for (float& value : values) value = std::abs(value);
  return values;
}

Floats Draw::sparse(std::int64_t n, std::int64_t columns, std::int64_t rows, double share) {
  Floats values = normal(n);
  std::bernoulli_distribution keep(share);
  for (std::int64_t i = 0; i < n; ++i)
    if (i / columns % rows != 0 || !keep(random_)) values[static_cast<std::size_t>(i)] = 0;
  return values;
}

Ints Draw::labels(std::int64_t rows, int classes) {
  std::uniform_int_distribution<std::int32_t> draw(0, classes - 1);
  Ints values(static_cast<std::size_t>(rows));
  for (auto& value : values) value = draw(random_);
  return values;
}

std::vector<OpBench> op_table(std::int64_t batch, const Twins& twins) {
  register_kernels();
  std::vector<OpBench> table;
  add_layer_rows(table, batch, twins);
  add_other_rows(table, batch);
  add_recurrent_rows(table, batch);
  return table;
}

std::string check_row(const OpBench& row, const Arrays& before, const Run& run, Stream& stream, DeviceArrays& arrays) {
  Stream host(Device::cpu, 1);
  DeviceArrays reference(Device::cpu, before);
  row.bind(Device::cpu, "ref")(host, reference);
  Arrays expected{{}, before.out, {}, before.int_out}, actual = expected;
  reference.fetch(expected);
  run(stream, arrays);
  stream.synchronize();
  arrays.fetch(actual);
  for (std::size_t i = 0; i < expected.out.size(); ++i)
    if (const double error = relative_error(actual.out[i], expected.out[i]); !(error <= row.tolerance))
      return fmt::format("wrong: output {} is off by {:.1e}, {:.0e} is allowed", i, error, row.tolerance);
  for (std::size_t i = 0; i < expected.int_out.size(); ++i)
    if (actual.int_out[i] != expected.int_out[i]) return fmt::format("wrong: integers of output {} differ", i);
  return {};
}

}  // namespace retort::bench
