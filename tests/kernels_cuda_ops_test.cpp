// The CUDA kernels on a GPU against the double reference: the whole table of ops, every implementation registered for the device
// (ours and the vendor's). Skipped, with the reason, where there is no GPU. `ctest -L gpu` runs it.
#include "catch.h"
#include "op_cases.h"

#include "retort/kernels/dropout.h"

#include <cstdlib>
#include <cstring>

namespace {

using namespace retort;

bool gpu() {
  register_kernels();
  if (is_available(Device::cuda)) return true;
  if (std::getenv("RETORT_REQUIRE_GPU") != nullptr) FAIL(describe(Device::cuda));  // bench/gpu_check.sh: nothing may be skipped
  WARN("skipped: " << describe(Device::cuda));
  return false;
}

/// What is wrong; empty when nothing is. An implementation that throws does not keep the others from being tried.
std::string verdict(const op_cases::OpCase& c, const op_cases::Problem& problem, Stream& stream,
                    std::string_view implementation) {
  try {
    return compare(c, problem, run(c, problem, stream, implementation));
  } catch (const Error& error) {
    return error.what();
  }
}

TEST_CASE("every CUDA kernel agrees with the double reference on the GPU") {
  if (!gpu()) return;
  const std::uint64_t seed = op_cases::fresh_seed();
  const char* only = std::getenv("RETORT_CASE");    // a part of a case's title, to look at one
  const char* chosen = std::getenv("RETORT_IMPL");  // one implementation, e.g. ours alone under compute-sanitizer
  INFO("RETORT_SEED=" << seed << " repeats this run");
  Stream stream(Device::cuda);
  for (const auto& c : op_cases::all()) {
    if (only != nullptr && c.title().find(only) == std::string::npos) continue;
    const op_cases::Problem problem = op_cases::make_problem(c, seed);
    for (const auto& implementation : c.implementations(Device::cuda)) {
      if (chosen != nullptr && implementation != chosen) continue;
      CAPTURE(c.title(), implementation);
      CHECK(verdict(c, problem, stream, implementation) == "");
    }
  }
}

TEST_CASE("with TF32 products on the GPU are right to three digits") {
  if (!gpu()) return;
  const std::uint64_t seed = op_cases::fresh_seed();
  INFO("RETORT_SEED=" << seed << " repeats this run");
  Stream stream(Device::cuda);
  stream.set_tf32(true);
  for (op_cases::OpCase c : op_cases::all()) {
    if (!shows_tf32(c)) continue;
    CAPTURE(c.title());
    c.tolerance = op_cases::tf32_tolerance;
    const op_cases::Problem problem = op_cases::make_problem(c, seed);
    CHECK(verdict(c, problem, stream, "cuda") == "");
  }
}

TEST_CASE("the same bits come out twice on the GPU") {
  if (!gpu()) return;
  const std::uint64_t seed = op_cases::fresh_seed();
  INFO("RETORT_SEED=" << seed << " repeats this run");
  Stream stream(Device::cuda);
  for (const auto& c : op_cases::all()) {
    CAPTURE(c.title());
    const op_cases::Problem problem = op_cases::make_problem(c, seed);
    const auto first = run(c, problem, stream, "cuda"), second = run(c, problem, stream, "cuda");
    for (const auto& [name, values] : first.outputs) {
      CAPTURE(name);
      CHECK(std::memcmp(values.data(), second.outputs.at(name).data(), values.size() * sizeof(double)) == 0);
    }
  }
}

TEST_CASE("without a GPU the device says why, and asking for it is an error") {
  if (is_available(Device::cuda)) return;
  CHECK(describe(Device::cuda).rfind("cuda: ", 0) == 0);
  CHECK_THROWS_AS(memory(Device::cuda), DeviceError);
  CHECK_THROWS_AS(Stream(Device::cuda), DeviceError);
}

TEST_CASE("memory that the GPU does not have is refused with the numbers, and the next request is served") {
  if (!gpu()) return;
  const DeviceMemory& table = memory(Device::cuda);
  try {
    table.release(table.allocate(std::size_t{1} << 46));
    FAIL("64 TiB were given");
  } catch (const DeviceError& error) {
    const std::string text = error.what();
    CHECK(text.find("70368744177664 bytes") != std::string::npos);
    CHECK(text.find("are free") != std::string::npos);
  }
  table.release(table.allocate(1 << 20));
  table.synchronize();
}

}  // namespace
