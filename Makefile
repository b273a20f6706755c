# A thin layer over CMake. `make` builds, `make run` runs the main job, `make test` every test; each first installs
# the Debian packages that are missing.
BUILD ?= build
EXPERIMENT ?= experiments/edgent.json
CTEST = ctest --test-dir "$(1)" --output-on-failure --no-tests=error --timeout 300 -j "$$(nproc)"
SOURCES = git ls-files -co --exclude-standard -- '*.cpp' '*.h'

.PHONY: all build run test bench check calibrate readme golden sanitize format format-check install clean

all: build

build:
	@.ci/packages build
	@test -f "$(BUILD)/build.ninja" || cmake -S . -B "$(BUILD)" -G Ninja -DCMAKE_BUILD_TYPE=Release
	@cmake --build "$(BUILD)"

# Runs the Edgent experiment, or EXPERIMENT=file.
run: build
	@"$(BUILD)/cdisim" "$(EXPERIMENT)"

test: build
	@$(call CTEST,$(BUILD))

# How long planning takes; what Python policies, runs from Python and steps of the environments (once `make test` has
# installed Gymnasium) cost; cdisim against bare SimGrid and SimPy on the same job, in one run.
bench: build
	@.ci/packages bench
	@"$(BUILD)/tests/bench/planning" .
	@test ! -d "$(BUILD)/python" || PYTHONPATH="$(BUILD)/python" CDISIM_PROGRAM="$(BUILD)/cdisim" /usr/bin/python3 tests/bench/decisions.py
	@test ! -x "$(BUILD)/venv-gymnasium/bin/python" || PYTHONPATH="$(BUILD)/python" CDISIM_PROGRAM="$(BUILD)/cdisim" \
	    "$(BUILD)/venv-gymnasium/bin/python" tests/bench/environment.py
	@/usr/bin/python3 tests/bench/bench.py --cdisim "$(BUILD)/cdisim" --bare "$(BUILD)/tests/bench/bare_simgrid"

# Published figures beside the simulated ones.
check: build
	@"$(BUILD)/cdisim" check experiments/

# Fits the device profiles to platforms/measured_latency.csv and prints the errors of leave-one-out.
calibrate: build
	@"$(BUILD)/cdisim" calibrate -o platforms/calibration.json

# Rewrites the generated parts of README.md.
readme: build
	@python3 .ci/readme.py "$(BUILD)/cdisim"

# Rewrites the golden results for review; of one experiment with CDISIM_GOLDEN=name.
golden: build
	@CDISIM_REWRITE_GOLDEN=1 "$(BUILD)/tests/cdisim_tests" --no-skip --test-case=golden

# The tests under AddressSanitizer and UBSan, with threads as SimGrid's contexts.
sanitize:
	@.ci/packages build
	@test -f "$(BUILD)/sanitize/build.ninja" || cmake -S . -B "$(BUILD)/sanitize" -G Ninja \
	    -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCDISIM_SANITIZE=ON
	@cmake --build "$(BUILD)/sanitize" --target cdisim_tests
	@$(call CTEST,$(BUILD)/sanitize)

format:
	@$(SOURCES) | xargs clang-format -i

format-check:
	@$(SOURCES) | xargs clang-format --dry-run --Werror

install: build
	@cmake --install "$(BUILD)"

clean:
	rm -rf "$(BUILD)"
