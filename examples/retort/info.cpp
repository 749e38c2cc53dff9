// retort info
#include "retort/core/version.h"
#include "retort/examples/retort/command.h"
#include "retort/examples/retort/ranks.h"
#include "retort/kernels/backends.h"
#include "retort/kernels/registry.h"

namespace retort::command {

void add_info(CLI::App& root, Command& command) {
  auto* app = root.add_subcommand("info", "Version, build, devices, and which kernels are in use");
  app->callback([&command] {
    command.run = [] {
      register_kernels();
      fmt::print("retort {}, built with {}\n\n", version(), compiler());
      for (const Device device : {Device::cpu, Device::cuda, Device::cuda_sim})
        fmt::print("{:<9} {:<13} {}\n", name(device), is_available(device) ? "available" : "not available", describe(device));
      fmt::print("mpirun    {}\n", mpi_version());
      fmt::print("twins for comparison: {}, {}\n\n", cudnn_describe(), cublas_describe());
      std::vector<std::vector<std::string>> rows;
      for (const auto& row : list_implementations())
        rows.push_back({row.op, std::string(name(row.device)), row.in_use, fmt::format("{}", fmt::join(row.names, " "))});
      print_columns({"op", "device", "in use", "implementations"}, rows);
      return ok;
    };
  });
}

}  // namespace retort::command
