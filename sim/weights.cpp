#include "sim/weights.h"

#include <algorithm>
#include <cmath>

namespace cdisim {

namespace {
std::size_t at(int index) {
  return static_cast<std::size_t>(index);
}
}  // namespace

WeightStore::WeightStore(const LayerGraph& graph, const Platform& platform,
                         const std::map<HostId, std::vector<LayerId>>& at_start)
    : graph_(graph),
      platform_(platform),
      loaded_(at(platform.host_count())),
      held_(at(platform.host_count())) {
  for (const auto& [host, layers] : at_start) {
    loaded_[at(host)].resize(at(graph.size()));
    held_[at(host)].users.resize(at(graph.size()));
    held_[at(host)].used_at.resize(at(graph.size()));
    clear(host);
    load(host, layers);
  }
}

std::vector<LayerId> WeightStore::missing(HostId host, std::span<const LayerId> layers) const {
  std::vector<LayerId> out;
  if (!tracks(host)) return out;
  for (const LayerId id : layers) {
    if (!loaded_[at(host)][at(id)]) out.push_back(id);
  }
  return out;
}

void WeightStore::set_aside(HostId host, double bytes) {
  held_[at(host)].aside_bytes = std::max(held_[at(host)].aside_bytes, bytes);
}

bool WeightStore::has_room(HostId host, std::span<const LayerId> layers) const {
  double bytes = held_[at(host)].aside_bytes;
  for (const LayerId id : layers) bytes += graph_.layer(id).weight_bytes;
  return bytes <= platform_.host(host).memory_bytes.value_or(INFINITY);
}

bool WeightStore::load(HostId host, std::span<const LayerId> layers) {
  Held& held = held_[at(host)];
  const std::vector<LayerId> wanted = missing(host, layers);
  double need = held.bytes + held.aside_bytes - platform_.host(host).memory_bytes.value_or(INFINITY);
  for (const LayerId id : wanted) need += graph_.layer(id).weight_bytes;

  std::vector<LayerId> idle;  // the one that was used longest ago first
  for (LayerId id = 0; id < graph_.size(); ++id) {
    const bool asked_for = std::ranges::find(layers, id) != layers.end();
    if (loaded_[at(host)][at(id)] && graph_.layer(id).weight_bytes > 0 && held.users[at(id)] == 0 &&
        !asked_for)
      idle.push_back(id);
  }
  std::ranges::stable_sort(idle, {}, [&](LayerId id) { return held.used_at[at(id)]; });
  std::vector<LayerId> going;
  for (const LayerId id : idle) {
    if (need <= 0) break;
    need -= graph_.layer(id).weight_bytes;
    going.push_back(id);
  }
  if (need > 0) return false;

  for (const LayerId id : going) {
    loaded_[at(host)][at(id)] = false;
    held.bytes -= graph_.layer(id).weight_bytes;
    ++evictions_;
  }
  ++uses_;
  for (const LayerId id : wanted) {
    loaded_[at(host)][at(id)] = true;
    held.bytes += graph_.layer(id).weight_bytes;
    held.used_at[at(id)] = uses_;
  }
  held.peak_bytes = std::max(held.peak_bytes, held.bytes);
  return true;
}

void WeightStore::use(HostId host, std::span<const LayerId> layers) {
  ++uses_;
  for (const LayerId id : layers) {
    ++held_[at(host)].users[at(id)];
    held_[at(host)].used_at[at(id)] = uses_;
  }
}

void WeightStore::release(HostId host, std::span<const LayerId> layers) {
  for (const LayerId id : layers) --held_[at(host)].users[at(id)];
}

void WeightStore::clear(HostId host) {
  held_[at(host)].bytes = 0;
  for (LayerId id = 0; id < graph_.size(); ++id)
    loaded_[at(host)][at(id)] = graph_.layer(id).weight_bytes == 0;
}

double WeightStore::peak_bytes(HostId host) const {
  return held_[at(host)].peak_bytes + held_[at(host)].aside_bytes;
}

}  // namespace cdisim
