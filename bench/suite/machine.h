// What a result needs beside its numbers to be understood later.
#pragma once

#include "retort/distill/run_record.h"  // Json
#include "retort/kernels/device.h"

namespace retort::bench {

/// Processor or GPU, threads, operating system's kernel, compiler, versions of this program and of the libraries behind the
/// kernels, date.
Json machine(Device device, int threads);

/// How long a cache line takes from one processor that this process may use to the next one and back, in ns: about 50 where the
/// two share a cache, several hundred where they do not. A virtual machine's may be moved, and then it changes while a benchmark
/// runs. 0 with a single processor.
double line_round_trip_ns();

/// Writes `json` to `path`, or to stdout when that is "-"; throws InputError naming the path.
void write_json(const std::string& path, const Json& json);

}  // namespace retort::bench
