// Requests for chains of units on shared hosts, against brute force over all of their placements.

#include "policies/shared/joint_placement.h"

#include <doctest/doctest.h>

#include <limits>
#include <optional>

#include "sim/random.h"

using namespace cdisim;

namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();

// Budgets of `tightness` (about what all requests need, spread evenly, is 1) on all hosts together.
JointPlacement random_joint(Random& random, std::size_t requests, std::size_t units, std::size_t hosts,
                            double tightness, bool gaps) {
  JointPlacement joint;
  joint.requests = requests;
  joint.units = units;
  joint.hosts = hosts;
  const auto fill = [&](std::vector<double>& values, std::size_t n, double low, double high) {
    for (std::size_t i = 0; i < n; ++i) values.push_back(low + (high - low) * random.uniform());
  };
  std::vector<double> work, speed;
  fill(work, units, 0.1, 1);
  fill(speed, hosts, 1, 4);
  for (const double w : work) {
    for (const double s : speed) joint.compute_s.push_back(w / s);
  }
  fill(joint.run_s, hosts, 0, 0.05);
  fill(joint.bytes, units, 0.1, 3);
  fill(joint.delay_s, hosts * hosts, 0.001, 0.02);
  fill(joint.s_per_byte, hosts * hosts, 0.05, 0.5);
  fill(joint.input_s, requests * hosts, 0.1, 1);
  fill(joint.result_s, requests * hosts, 0.01, 0.02);
  for (std::size_t i = 0; gaps && i < hosts * hosts; ++i) {
    if (random.below(5) == 0) joint.delay_s[i] = kNever;
  }
  for (std::size_t u = 0; u < requests; ++u) joint.home.push_back(u % hosts);
  for (int r = 0; r < 2; ++r) {
    JointPlacement::Budget budget;
    std::vector<double> need;
    fill(need, units, 0.2, 1);
    double sum = 0;
    for (const double n : need) {
      sum += n;
      budget.need.insert(budget.need.end(), hosts, n);
    }
    fill(budget.most, hosts, 0.7, 1.3);
    for (double& most : budget.most)
      most *= sum * static_cast<double>(requests) / static_cast<double>(hosts) / tightness;
    joint.budgets.push_back(std::move(budget));
  }
  return joint;
}

// Written out anew: the sum of a placement's latencies, nothing where it breaks a budget.
std::optional<double> sum_of(const JointPlacement& joint,
                             const std::vector<std::vector<std::size_t>>& placed) {
  double sum = 0;
  for (const JointPlacement::Budget& budget : joint.budgets) {
    std::vector<double> used(joint.hosts, 0);
    for (const auto& at : placed) {
      for (std::size_t b = 0; b < at.size(); ++b) used[at[b]] += budget.need[b * joint.hosts + at[b]];
    }
    for (std::size_t i = 0; i < joint.hosts; ++i) {
      if (used[i] > budget.most[i] * (1 + 1e-6)) return std::nullopt;
    }
  }
  for (std::size_t u = 0; u < placed.size(); ++u) {
    const std::vector<std::size_t>& at = placed[u];
    if (at.empty()) continue;
    sum += joint.input_s[u * joint.hosts + at.front()] + joint.result_s[u * joint.hosts + at.back()];
    for (std::size_t b = 0; b < at.size(); ++b) {
      sum += joint.compute_s[b * joint.hosts + at[b]];
      if (b == 0 || at[b] == at[b - 1]) continue;
      const std::size_t hop = at[b - 1] * joint.hosts + at[b];
      sum += joint.delay_s[hop] + joint.bytes[b] * joint.s_per_byte[hop] + joint.run_s[at[b]];
    }
  }
  return sum < kNever ? std::optional(sum) : std::nullopt;
}

struct Best {
  std::size_t turned_away = 0;
  double sum_s = kNever;
};

// Every request on every host for every unit, or turned away.
Best brute_force(const JointPlacement& joint) {
  std::vector<std::vector<std::size_t>> ways{{}};
  std::vector<std::size_t> at(joint.units, 0);
  for (;;) {
    ways.push_back(at);
    std::size_t b = 0;
    while (b < at.size() && ++at[b] == joint.hosts) at[b++] = 0;
    if (b == at.size()) break;
  }
  Best best{joint.requests + 1, kNever};
  std::vector<std::vector<std::size_t>> placed(joint.requests);
  const auto place = [&](const auto& self, std::size_t u) -> void {
    if (u < joint.requests) {
      for (const auto& way : ways) {
        placed[u] = way;
        self(self, u + 1);
      }
      return;
    }
    const std::size_t away =
        static_cast<std::size_t>(std::ranges::count_if(placed, [](const auto& way) { return way.empty(); }));
    if (away > best.turned_away) return;
    const std::optional<double> sum = sum_of(joint, placed);
    if (!sum || (away == best.turned_away && *sum >= best.sum_s)) return;
    best = {away, *sum};
  };
  place(place, 0);
  return best;
}

void compare(std::size_t requests, std::size_t units, std::size_t hosts, int rounds, std::uint64_t seed) {
  Random random(seed);
  int programmes = 0, away = 0;
  std::map<NextHost, std::pair<double, int>> gaps;
  for (int round = 0; round < rounds; ++round) {
    CAPTURE(round);
    const JointPlacement joint =
        random_joint(random, requests, units, hosts, 0.3 + random.uniform(), round % 2 == 1);
    const Best best = brute_force(joint);
    const Placed placed = best_placement(joint);
    CHECK(placed.turned_away() == best.turned_away);
    CHECK(placed.sum_s() == doctest::Approx(best.sum_s).epsilon(1e-7));
    const std::optional<double> sum = sum_of(joint, placed.hosts);
    REQUIRE(sum);
    CHECK(placed.sum_s() == doctest::Approx(*sum).epsilon(1e-9));
    programmes += placed.programme ? 1 : 0;
    away += best.turned_away > 0 ? 1 : 0;
    for (const NextHost next :
         {NextHost::kFastest, NextHost::kNearest, NextHost::kRoomiest, NextHost::kRandom}) {
      const Placed quick = placement_in_order(joint, next);
      const std::optional<double> quick_sum = sum_of(joint, quick.hosts);
      REQUIRE(quick_sum);
      CHECK(quick.sum_s() == doctest::Approx(*quick_sum).epsilon(1e-9));
      REQUIRE(quick.turned_away() >= best.turned_away);
      if (quick.turned_away() > best.turned_away || best.sum_s == 0) continue;
      CHECK(quick.sum_s() >= best.sum_s * (1 - 1e-9));
      gaps[next].first += quick.sum_s() / best.sum_s - 1;
      ++gaps[next].second;
    }
  }
  const auto gap = [&](NextHost next) {
    return fmt::format("{:.0f} % ({} of {})", 100 * gaps[next].first / gaps[next].second, gaps[next].second,
                       rounds);
  };
  MESSAGE(requests << " requests, " << units << " units, " << hosts << " hosts: " << rounds << " instances, "
                   << away << " with requests turned away, " << programmes
                   << " integer programmes; above the optimum where as many are served: fastest "
                   << gap(NextHost::kFastest) << ", nearest " << gap(NextHost::kNearest) << ", roomiest "
                   << gap(NextHost::kRoomiest) << ", random " << gap(NextHost::kRandom));
  CHECK(programmes > 0);
  CHECK(away > 0);
}

}  // namespace

TEST_CASE("joint_placement: optimal on 200 random instances, by brute force") {
  compare(2, 3, 3, 100, 1);
  compare(3, 2, 3, 60, 2);
  compare(2, 2, 5, 40, 3);
}
