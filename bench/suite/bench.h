// `retort bench` and `bench_kernels_ops`: the table of ops and the whole step, timed by Google Benchmark. A build without that
// library has stub.cpp in the place of bench.cpp, which says so.
#pragma once

#include "retort/bench/suite/twins.h"

#include <CLI/CLI.hpp>

#include <string>

namespace retort::bench {

struct Options {
  std::string filter = ".", device = "cpu", impl, json;
  int threads = 0, batch = 64, repetitions = 5;
  double seconds = 0.05;
  bool list = false;

  void add(CLI::App& app);
};

/// Prints one line a bench and writes --json. Returns 0, or 1 when a result was wrong.
int run(const Options& options, const Twins& twins = {});

}  // namespace retort::bench
