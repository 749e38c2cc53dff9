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
    if (cuda_available()) {
      register_cuda_kernels();
      register_cudnn_kernels();
      register_cublas_kernels();
    }
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
  std::set<std::string> alternatives, ops;
  {
    const std::lock_guard lock(tables().mutex);
    for (KernelTableBase* table : tables().all) {
      ops.emplace(table->op());
      if (op != "*" && op != table->op()) continue;
      known_op = true;
      if (table->select(device, name)) found = true;
      for (auto& other : table->info(device).names) alternatives.insert(std::move(other));
    }
  }
  check<InputError>(known_op, "no op is called '{}'; there are: {}", op, fmt::join(ops, ", "));
  check<InputError>(found, "{} has {} '{}' on {}; there is: {}", op == "*" ? "no op" : op,
                    op == "*" ? "an implementation" : "no implementation", name, retort::name(device),
                    alternatives.empty() ? std::string("none") : fmt::format("{}", fmt::join(alternatives, ", ")));
}

void use_implementations(std::string_view list, Device device) {
  while (!list.empty()) {
    const std::size_t comma = list.find(',');
    const std::string_view item = list.substr(0, comma);
    const std::size_t equals = item.find('=');
    const bool for_all = equals == std::string_view::npos;
    const std::string_view op = for_all ? "*" : item.substr(0, equals), name = for_all ? item : item.substr(equals + 1);
    check<InputError>(!op.empty() && !name.empty(), "--impl: '{}' is not OP=NAME, as in conv2d=eigen", item);
    use_implementation(op, device, name);
    list.remove_prefix(comma == std::string_view::npos ? list.size() : comma + 1);
  }
}

}  // namespace retort
