#include "retort/kernels/registry.h"

#include "retort/kernels/backends.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <mutex>
#include <set>

namespace retort {
namespace {

struct Tables {
  std::mutex mutex;
  std::vector<KernelTableBase*> all;
};

Tables& tables() {
  static Tables tables;
  return tables;
}

}  // namespace

void KernelTableBase::enlist(KernelTableBase* table) {
  const std::lock_guard lock(tables().mutex);
  tables().all.push_back(table);
}

void register_kernels() {
  static std::once_flag once;
  std::call_once(once, [] {
    register_ref_kernels();
    register_eigen_kernels();
    register_simd_kernels();
    if (cuda_available()) register_cuda_kernels();
    if (cuda_sim_available()) register_cuda_sim_kernels();
  });
}

std::vector<ImplementationInfo> list_implementations() {
  register_kernels();
  const std::lock_guard lock(tables().mutex);
  std::vector<ImplementationInfo> list;
  for (const KernelTableBase* table : tables().all)
    for (int d = 0; d < device_count; ++d)
      if (auto info = table->info(static_cast<Device>(d)); !info.names.empty()) list.push_back(std::move(info));
  std::ranges::sort(list, [](const auto& a, const auto& b) { return std::tie(a.op, a.device) < std::tie(b.op, b.device); });
  return list;
}

void use_implementation(std::string_view op, Device device, std::string_view name) {
  register_kernels();
  bool known_op = false, found = false;
  std::set<std::string> alternatives;
  {
    const std::lock_guard lock(tables().mutex);
    for (KernelTableBase* table : tables().all) {
      if (op != "*" && op != table->op()) continue;
      known_op = true;
      if (table->select(device, name)) found = true;
      for (auto& other : table->info(device).names) alternatives.insert(std::move(other));
    }
  }
  check<InputError>(known_op, "no op is called '{}'; `retort info` lists them", op);
  check<InputError>(found, "op {} has no implementation '{}' on {}; there is: {}", op, name, retort::name(device),
                    alternatives.empty() ? std::string("none") : fmt::format("{}", fmt::join(alternatives, ", ")));
}

}  // namespace retort
