// Every CPU implementation against the double reference, over the whole table.
#include "catch.h"
#include "op_cases.h"

#include <set>

namespace {

using namespace retort;

TEST_CASE("every CPU kernel agrees with the double reference") {
  const std::uint64_t seed = op_cases::fresh_seed();
  INFO("RETORT_SEED=" << seed << " repeats this run");
  Stream stream(Device::cpu, 2);
  for (const auto& c : op_cases::all()) {
    const op_cases::Problem problem = op_cases::make_problem(c, seed);
    for (const auto& implementation : c.implementations(Device::cpu)) {
      CAPTURE(c.title(), implementation);
      CHECK(compare(c, problem, run(c, problem, stream, implementation)) == "");
    }
  }
}

TEST_CASE("the table covers every op that is registered, and every op has a reference and a fast kernel") {
  std::set<std::string> in_table;
  for (const auto& c : op_cases::all()) in_table.insert(c.op);
  for (const auto& info : list_implementations()) {
    CAPTURE(info.op);
    CHECK(in_table.count(info.op) == 1);
    if (info.device != Device::cpu) continue;
    CHECK(std::count(info.names.begin(), info.names.end(), "ref") == 1);
    CHECK(std::count(info.names.begin(), info.names.end(), "eigen") == 1);
    CHECK(info.in_use != "ref");
  }
}

// The tests are worth what the table can see: a kernel that is slightly wrong must fail.
TEST_CASE("a wrong result, a missing one, a stray write and a changed input are found") {
  Stream stream(Device::cpu, 1);
  op_cases::OpCase c{.op = "double", .label = "of 33"};
  c.input("x", 33).output("y", 33);
  c.reference = [](Stream&, const op_cases::Arguments<double>& a) {
    for (int i = 0; i < 33; ++i) a["y"][i] = 2 * a["x"][i];
  };
  const auto outcome = [&](auto kernel) {
    c.launch = [&](Stream&, std::string_view, const op_cases::Arguments<float>& a) { kernel(a["x"], a["y"]); };
    return run_case(c, stream, "test", 1);
  };
  const auto right = [](const float* x, float* y, int begin, int end) {
    for (int i = begin; i < end; ++i) y[i] = 2 * x[i];
  };
  CHECK(outcome([&](float* x, float* y) { right(x, y, 0, 33); }) == "");
  CHECK(outcome([&](float* x, float* y) { right(x, y, 0, 33), y[7] *= 1.001f; }) != "");
  CHECK(outcome([&](float* x, float* y) { right(x, y, 0, 32); }) != "");
  CHECK(outcome([&](float* x, float* y) { right(x, y, 0, 33), y[33] = 0; }) != "");
  CHECK(outcome([&](float* x, float* y) { right(x, y, 0, 33), x[0] += 1; }) != "");
}

TEST_CASE("no draw makes a sound kernel fail because a lone sum is next to zero") {
  Stream stream(Device::cpu, 1);
  op_cases::OpCase c{.op = "dot", .label = "of 2"};
  c.input("x", 2).input("w", 2).output("y", 1);
  c.reference = [](Stream&, const op_cases::Arguments<double>& a) { a["y"][0] = a["x"][0] * a["w"][0] + a["x"][1] * a["w"][1]; };
  c.launch = [](Stream&, std::string_view, const op_cases::Arguments<float>& a) {
    const volatile float first = a["x"][0] * a["w"][0], second = a["x"][1] * a["w"][1];
    a["y"][0] = first + second;
  };
  const std::uint64_t seed = op_cases::fresh_seed();
  for (std::uint64_t i = 0; i < 2000; ++i) CHECK(run_case(c, stream, "test", seed + i * 1000) == "");
}

}  // namespace
