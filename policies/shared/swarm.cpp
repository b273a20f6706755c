#include "policies/shared/swarm.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <utility>

#include "sim/random.h"

namespace cdisim {

namespace {

using Genes = std::vector<int>;

struct Member {
  Genes genes;
  Fitness fitness;
};

// What the searches share: random genes, the best that was met, and when to end.
class Search {
 public:
  explicit Search(const GeneSearch& search) : search_(search), random_(search.seed) {
    assert(!search.choices.empty() && search.population >= 2);
  }

  Random& random() { return random_; }
  std::size_t genes() const { return search_.choices.size(); }
  int choices(std::size_t gene) const { return search_.choices[gene]; }
  std::size_t any_gene() { return static_cast<std::size_t>(random_.below(static_cast<int>(genes()))); }
  bool happens(double probability) { return random_.uniform() < probability; }

  std::vector<Member> first_population() {
    std::vector<Member> out(std::max(search_.first.size(), static_cast<std::size_t>(search_.population)));
    for (std::size_t m = 0; m < out.size(); ++m) {
      if (m < search_.first.size()) {
        out[m].genes = search_.first[m];
      } else {
        for (const int n : search_.choices) out[m].genes.push_back(random_.below(n));
      }
      evaluate(out[m]);
    }
    return out;
  }

  void evaluate(Member& member) {
    member.fitness = search_.fitness(member.genes);
    if (best_.genes.empty() || member.fitness < best_.fitness) best_ = member;
  }

  // Another value for one random gene. @returns whether it has one.
  bool mutate(Genes& genes) {
    const std::size_t gene = any_gene();
    if (choices(gene) < 2) return false;
    const int other = random_.below(choices(gene) - 1);
    genes[gene] = other < genes[gene] ? other : other + 1;
    return true;
  }

  // Copies a random segment. @returns whether anything changed.
  bool copy_segment(Genes& to, const Genes& from) {
    std::size_t begin = any_gene(), end = any_gene();
    if (begin > end) std::swap(begin, end);
    bool changed = false;
    for (std::size_t i = begin; i <= end; ++i) changed |= std::exchange(to[i], from[i]) != from[i];
    return changed;
  }

  // Runs `step(progress)`, progress from 0 to 1.
  template <class Step>
  Found run(const Step& step) {
    int done = 0;
    while (done < search_.iterations && best_.fitness > search_.floor) {
      step(search_.iterations > 1 ? static_cast<double>(done) / (search_.iterations - 1) : 0);
      ++done;
    }
    return {best_.genes, best_.fitness, done};
  }

  const Member& best() const { return best_; }

 private:
  const GeneSearch& search_;
  Random random_;
  Member best_;
};

double at(const Ramp& ramp, double progress) {
  return ramp.first + (ramp.last - ramp.first) * progress;
}

}  // namespace

Found pso_ga(const GeneSearch& given, const PsoGa& parameters) {
  Search search(given);
  std::vector<Member> particles = search.first_population();
  std::vector<Member> own = particles;
  return search.run([&](double progress) {
    const Genes best = search.best().genes;
    const double c1 = at(parameters.c1, progress), c2 = at(parameters.c2, progress);
    for (std::size_t p = 0; p < particles.size(); ++p) {
      Genes& genes = particles[p].genes;
      int differ = 0;
      for (std::size_t i = 0; i < genes.size(); ++i) differ += genes[i] != best[i] ? 1 : 0;
      const double d = differ / static_cast<double>(genes.size());
      const double w = parameters.w_max - (parameters.w_max - parameters.w_min) * std::exp(d / (d - 1.01));
      bool changed = search.happens(w) && search.mutate(genes);
      if (search.happens(c1)) changed |= search.copy_segment(genes, own[p].genes);
      if (search.happens(c2)) changed |= search.copy_segment(genes, best);
      if (!changed) continue;
      search.evaluate(particles[p]);
      if (particles[p].fitness < own[p].fitness) own[p] = particles[p];
    }
  });
}

Found pso(const GeneSearch& given, const Pso& parameters) {
  Search search(given);
  std::vector<Member> particles = search.first_population();
  std::vector<Member> own = particles;
  const std::size_t n = search.genes();
  std::vector<double> x(particles.size() * n), v(particles.size() * n);
  for (std::size_t p = 0; p < particles.size(); ++p) {
    for (std::size_t i = 0; i < n; ++i) {
      const int choices = search.choices(i);
      x[p * n + i] = particles[p].genes[i] + search.random().uniform();
      v[p * n + i] = choices * (search.random().uniform() - 0.5);
    }
  }
  std::vector<double> own_x = x;
  const auto find_best = [&] {
    return static_cast<std::size_t>(std::ranges::min_element(own, {}, &Member::fitness) - own.begin());
  };
  return search.run([&](double progress) {
    const double w = at({parameters.w_max, parameters.w_min}, progress);
    const std::size_t best = find_best();
    const std::vector<double> best_x(own_x.begin() + static_cast<std::ptrdiff_t>(best * n),
                                     own_x.begin() + static_cast<std::ptrdiff_t>((best + 1) * n));
    for (std::size_t p = 0; p < particles.size(); ++p) {
      bool changed = false;
      for (std::size_t i = 0; i < n; ++i) {
        const std::size_t k = p * n + i;
        const double choices = search.choices(i);
        const double r1 = search.random().uniform(), r2 = search.random().uniform();
        v[k] = std::clamp(
            w * v[k] + parameters.c1 * r1 * (own_x[k] - x[k]) + parameters.c2 * r2 * (best_x[i] - x[k]),
            -choices / 2, choices / 2);
        x[k] = std::clamp(x[k] + v[k], 0.0, std::nextafter(choices, 0.0));
        const int gene = static_cast<int>(x[k]);
        changed |= std::exchange(particles[p].genes[i], gene) != gene;
      }
      if (!changed) continue;
      search.evaluate(particles[p]);
      if (!(particles[p].fitness < own[p].fitness)) continue;
      own[p] = particles[p];
      std::copy_n(x.begin() + static_cast<std::ptrdiff_t>(p * n), n,
                  own_x.begin() + static_cast<std::ptrdiff_t>(p * n));
    }
  });
}

Found genetic(const GeneSearch& given, const Genetic& parameters) {
  Search search(given);
  std::vector<Member> population = search.first_population(), children;
  const auto parent = [&]() -> const Member& {
    const auto any = [&] {
      return static_cast<std::size_t>(search.random().below(static_cast<int>(population.size())));
    };
    const Member &a = population[any()], &b = population[any()];
    return b.fitness < a.fitness ? b : a;
  };
  return search.run([&](double /*progress*/) {
    children.assign(1, search.best());
    while (children.size() < population.size()) {
      Member child = parent();
      const Member& other = parent();
      bool changed = search.happens(parameters.crossover) && search.copy_segment(child.genes, other.genes);
      changed |= search.happens(parameters.mutation) && search.mutate(child.genes);
      if (changed) search.evaluate(child);
      children.push_back(std::move(child));
    }
    population.swap(children);
  });
}

}  // namespace cdisim
