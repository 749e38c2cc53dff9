#include "retort/distill/ensemble.h"

#include "retort/core/device.h"

#include <algorithm>
#include <exception>
#include <thread>
#include <vector>

namespace retort {

void side_by_side(int count, const std::function<void(int)>& work) {
  std::vector<std::exception_ptr> errors(static_cast<std::size_t>(count));
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < count; ++i)
      threads.emplace_back([&work, &errors, i] {
        try {
          work(i);
        } catch (...) {
          errors[static_cast<std::size_t>(i)] = std::current_exception();
        }
      });
  }
  for (const auto& error : errors)
    if (error) std::rethrow_exception(error);
}

EnsembleShare ensemble_share(Device device, int replicas, int threads) {
  check<InputError>(replicas >= 1, "--ensemble {}: at least one replica", replicas);
  if (device == Device::cuda) return {replicas, 1};  // the host only launches
  const int all = threads > 0 ? threads : ThreadTeam::available();
  const int together = std::min(replicas, all);
  return {together, all / together};
}

Trainer::End train_ensemble(const WindowSet& windows, std::span<const Replica> replicas, const EnsembleOptions& options,
                            const std::atomic<bool>& stop) {
  const EnsembleShare share = ensemble_share(options.device, static_cast<int>(replicas.size()), options.threads);
  std::atomic<std::size_t> next{0}, finished{0};
  const auto train = [&](std::size_t i) {
    const Replica& replica = replicas[i];
    if (options.resume && std::filesystem::exists(replica.directory / run_files::summary)) return Trainer::End::finished;
    Context context(options.device, share.threads);
    context.stream().set_tf32(replica.config.tf32);
    Trainer trainer(context, windows, replica.config, replica.directory);
    if (options.resume && std::filesystem::exists(replica.directory / run_files::config)) trainer.resume();
    if (options.on_start) options.on_start(i, trainer);
    return trainer.run(stop);
  };
  side_by_side(share.together, [&](int) {
    for (std::size_t i = next++; i < replicas.size() && !stop.load(); i = next++)
      if (train(i) == Trainer::End::finished) ++finished;
  });
  return finished == replicas.size() ? Trainer::End::finished : Trainer::End::interrupted;
}

}  // namespace retort
