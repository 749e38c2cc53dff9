// The CUDA kernels, run on the host by kernels/sim, against the double reference: the whole table of ops, fresh numbers each
// time, outputs full of NaN before the run.
#include "catch.h"
#include "op_cases.h"

#include "retort/kernels/dropout.h"
#include "retort/kernels/softmax.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <random>
#include <set>
#include <string>

namespace {

using namespace retort;

bool simulator() {
  register_kernels();
  if (is_available(Device::cuda_sim)) return true;
  WARN("skipped: " << describe(Device::cuda_sim));
  return false;
}

TEST_CASE("every CUDA kernel agrees with the double reference on the simulator") {
  if (!simulator()) return;
  const std::uint64_t seed = op_cases::fresh_seed();
  const char* only = std::getenv("RETORT_CASE");  // a part of a case's title, to look at one
  INFO("RETORT_SEED=" << seed << " repeats this run");
  Stream stream(Device::cuda_sim, 2);
  std::set<std::string> without;
  for (const auto& c : op_cases::all()) {
    if (only != nullptr && c.title().find(only) == std::string::npos) continue;
    const auto implementations = c.implementations(Device::cuda_sim);
    if (implementations.empty()) without.insert(c.op);
    for (const auto& implementation : implementations) {
      CAPTURE(c.title(), implementation);
      const op_cases::Problem problem = op_cases::make_problem(c, seed);
      CHECK(compare(c, problem, run(c, problem, stream, implementation)) == "");
    }
  }
  CHECK(without == std::set<std::string>{});  // no kernel was forgotten
}

TEST_CASE("the same bits come out twice, and for one host thread or two") {
  if (!simulator()) return;
  const std::uint64_t seed = op_cases::fresh_seed();
  INFO("RETORT_SEED=" << seed << " repeats this run");
  Stream one(Device::cuda_sim, 1), two(Device::cuda_sim, 2);
  for (const auto& c : op_cases::all()) {
    if (c.work > 5e4) continue;
    CAPTURE(c.title());
    const op_cases::Problem problem = op_cases::make_problem(c, seed);
    const auto first = run(c, problem, one, "cuda"), second = run(c, problem, two, "cuda");
    for (const auto& [name, values] : first.outputs) {
      CAPTURE(name);
      const auto& others = second.outputs.at(name);
      CHECK(std::memcmp(values.data(), others.data(), values.size() * sizeof(double)) == 0);
    }
  }
}

TEST_CASE("with TF32 products are right to three digits, and are not those in float") {
  if (!simulator()) return;
  const std::uint64_t seed = op_cases::fresh_seed();
  INFO("RETORT_SEED=" << seed << " repeats this run");
  Stream stream(Device::cuda_sim, 2);
  stream.set_tf32(true);
  double largest = 0;
  for (op_cases::OpCase c : op_cases::all()) {
    if (!shows_tf32(c) || c.work > 5e4) continue;
    CAPTURE(c.title());
    c.tolerance = op_cases::tf32_tolerance;
    const op_cases::Problem problem = op_cases::make_problem(c, seed);
    const auto outcome = run(c, problem, stream, "cuda");
    CHECK(compare(c, problem, outcome) == "");
    if (c.op != "linear") continue;
    for (const auto& [name, values] : outcome.outputs)
      largest = std::max(largest, op_cases::relative_error(values, problem.expected.at(name)));
  }
  CHECK(largest > 1e-5);
  CHECK_THROWS_AS(Stream(Device::cpu, 1).set_tf32(true), InputError);
}

TEST_CASE("dropout draws the CPU's mask bit for bit") {
  if (!simulator()) return;
  const std::uint64_t seed = op_cases::fresh_seed();
  INFO("RETORT_SEED=" << seed << " repeats this run");
  Stream cpu(Device::cpu, 1), sim(Device::cuda_sim, 1);
  const std::int32_t step = static_cast<std::int32_t>(seed % 1000);
  for (const std::int64_t n : {1, 31, 33, 4097}) {
    const PhiloxKey key{seed, 7, &step};
    std::vector<float> expected(static_cast<std::size_t>(n), -1.0f), mask(static_cast<std::size_t>(n), -1.0f);
    kernel<DropoutKernels>(Device::cpu).mask(cpu, n, 0.3f, key, expected.data());
    kernel<DropoutKernels>(Device::cuda_sim).mask(sim, n, 0.3f, key, mask.data());
    CAPTURE(n);
    CHECK(mask == expected);
  }
}

// Enough rows for many blocks, so that the sum over blocks is tried; the table's shapes stop at a few hundred rows.
TEST_CASE("the two-task loss of many rows is the sum of its blocks") {
  if (!simulator()) return;
  const std::uint64_t seed = op_cases::fresh_seed();
  INFO("RETORT_SEED=" << seed << " repeats this run");
  constexpr std::int64_t rows = 2503, classes1 = 12, classes2 = 3;
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  const auto fill = [&](std::int64_t n) {
    std::vector<float> values(static_cast<std::size_t>(n));
    for (float& v : values) v = normal(random);
    return values;
  };
  const auto z1 = fill(rows * classes1), z2 = fill(rows * classes2), t1 = fill(rows * classes1), t2 = fill(rows * classes2);
  std::vector<std::int32_t> l1(rows), l2(rows);
  for (auto& label : l1) label = static_cast<std::int32_t>(random() % classes1);
  for (auto& label : l2) label = static_cast<std::int32_t>(random() % classes2);
  const auto run = [&](Device device, const char* name) {
    Stream stream(device, 2);
    std::vector<float> losses(multitask_loss_count, NAN), d1(z1.size(), NAN), d2(z2.size(), NAN);
    for (int repeat = 0; repeat < 2; ++repeat)  // the second time finds the counters as the first left them
      KernelTable<MultitaskDistillKernels>::instance()
          .get(device, name)
          .forward(stream, {rows, classes1, classes2, 0.4f, 0.5f, 3.0f}, z1.data(), z2.data(), t1.data(), t2.data(), l1.data(),
                   l2.data(), losses.data(), d1.data(), d2.data());
    return losses;
  };
  const auto expected = run(Device::cpu, "ref"), losses = run(Device::cuda_sim, "cuda");
  for (int i = 0; i < multitask_loss_count; ++i) {
    CAPTURE(i);
    CHECK(losses[static_cast<std::size_t>(i)] == Approx(expected[static_cast<std::size_t>(i)]).epsilon(1e-5));
  }
}

}  // namespace
