// `retort bench` as a program of its own: every op and the whole step (bench/suite).
#include "retort/bench/suite/bench.h"
#include "retort/kernels/check.h"

#include <cstdio>

int main(int argc, char** argv) {
  retort::bench::Options options;
  CLI::App app{"Every op at MTL-net's shapes, by every implementation, and the whole training step"};
  app.option_defaults()->always_capture_default();
  options.add(app);
  CLI11_PARSE(app, argc, argv);
  try {
    return retort::bench::run(options, retort::bench::library_twins());
  } catch (const std::exception& error) {
    fmt::print(stderr, "bench_kernels_ops: {}\n", error.what());
    return 2;
  }
}
