// rmsnorm — scale each row to unit root-mean-square, then by a learned gain.
//   forward         y  = gain ⊙ x̂                       x̂ = x · r,  r = 1 / sqrt(mean(x²) + eps)
//   backward_input  dx = so_far + r·(u − x̂·mean(u·x̂))   u = gain ⊙ dy
//   backward_gain   dgain += Σ_rows dy ⊙ x̂
// x, y, dy, dx, so_far [rows, width]; gain, dgain [width]; r [rows], saved by forward.
struct Params {
  rows_extent: u32,
  width: u32,
  has_so_far: u32,
  eps: f32,
}
@group(0) @binding(1) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read> gain: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
@group(0) @binding(5) var<storage, read_write> r_out: array<f32>;
@group(0) @binding(6) var<storage, read> r: array<f32>;
@group(0) @binding(7) var<storage, read> dy: array<f32>;
@group(0) @binding(8) var<storage, read> so_far: array<f32>;
@group(0) @binding(9) var<storage, read_write> dx: array<f32>;
@group(0) @binding(10) var<storage, read_write> dgain: array<f32>;

// Invocations that share a row, a power of two: src/ops/tiles.ts says how many.
override LANES: u32 = 64;
// Columns of a workgroup that sums columns.
const COLUMNS = 64u;
var<workgroup> partial: array<f32, LANES>;

// A fixed tree, so that the sum has the same bytes on every run.
fn row_sum(lane: u32, value: f32) -> f32 {
  partial[lane] = value;
  workgroupBarrier();
  for (var half = LANES / 2u; half > 0u; half /= 2u) {
    if (lane < half) {
      partial[lane] += partial[lane + half];
    }
    workgroupBarrier();
  }
  return partial[0];
}

// One workgroup a row.
@compute @workgroup_size(LANES)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
           @builtin(local_invocation_index) lane: u32) {
  let row = flat_workgroup(group, groups);
  let live_row = row < extent(params.rows_extent);
  let start = row * params.width;
  var squares = 0.0;
  if (live_row) {
    for (var i = lane; i < params.width; i += LANES) {
      squares += x[start + i] * x[start + i];
    }
  }
  let scale = 1.0 / sqrt(row_sum(lane, squares) / f32(params.width) + params.eps);
  if (!live_row) {
    return;
  }
  for (var i = lane; i < params.width; i += LANES) {
    y[start + i] = gain[i] * (x[start + i] * scale);
  }
  if (lane == 0u) {
    r_out[row] = scale;
  }
}

@compute @workgroup_size(LANES)
fn backward_input(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
                  @builtin(local_invocation_index) lane: u32) {
  let row = flat_workgroup(group, groups);
  let live_row = row < extent(params.rows_extent);
  let start = row * params.width;
  var product = 0.0;
  if (live_row) {
    for (var i = lane; i < params.width; i += LANES) {
      product += gain[i] * dy[start + i] * (x[start + i] * r[row]);
    }
  }
  let mean = row_sum(lane, product) / f32(params.width);
  if (!live_row) {
    return;
  }
  for (var i = lane; i < params.width; i += LANES) {
    var sum = r[row] * (gain[i] * dy[start + i] - x[start + i] * r[row] * mean);
    if (params.has_so_far != 0u) {
      sum += so_far[start + i];
    }
    dx[start + i] = sum;
  }
}

// One invocation a column: neighbours read neighbouring columns of each row.
@compute @workgroup_size(COLUMNS)
fn backward_gain(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
                 @builtin(local_invocation_index) lane: u32) {
  let column = flat_workgroup(group, groups) * COLUMNS + lane;
  if (column >= params.width) {
    return;
  }
  var sum = 0.0;
  for (var row = 0u; row < extent(params.rows_extent); row++) {
    sum += dy[row * params.width + column] * (x[row * params.width + column] * r[row]);
  }
  dgain[column] += sum;
}
