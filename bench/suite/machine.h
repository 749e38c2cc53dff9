// What a result needs beside its numbers to be understood later.
#pragma once

#include "retort/distill/run_record.h"  // Json
#include "retort/kernels/device.h"

namespace retort::bench {

/// Processor or GPU, threads, operating system's kernel, compiler, versions of this program and of the libraries behind the
/// kernels, date.
Json machine(Device device, int threads);

/// Writes `json` to `path`, or to stdout when that is "-"; throws InputError naming the path.
void write_json(const std::string& path, const Json& json);

}  // namespace retort::bench
