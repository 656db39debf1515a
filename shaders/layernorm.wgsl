// layernorm — bring each row to mean 0 and variance 1, then scale and shift by a learned gain and bias.
//   forward         y  = gain ⊙ x̂ + bias                        x̂ = (x − m)·r,  m = mean(x)
//                                                                r = 1 / sqrt(mean((x − m)²) + eps)
//   backward_input  dx = so_far + r·(u − mean(u) − x̂·mean(u·x̂))  u = gain ⊙ dy
//   backward_gain   dgain += Σ_rows dy ⊙ x̂
//   backward_bias   dbias += Σ_rows dy
// x, y, dy, dx, so_far [rows, width]; gain, bias, dgain, dbias [width]; stats [rows, 2] = (m, r), saved by forward.
// The variance is biased (÷ width) and taken from x − m: mean(x²) − m² would cancel where m is large.
// Gain and bias have a pass each, since either may be frozen.
struct Params {
  rows_extent: u32,
  width: u32,
  has_so_far: u32,
  eps: f32,
}
@group(0) @binding(1) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read> gain: array<f32>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;
@group(0) @binding(6) var<storage, read_write> stats_out: array<vec2f>;
@group(0) @binding(7) var<storage, read> stats: array<vec2f>;
@group(0) @binding(8) var<storage, read> dy: array<f32>;
@group(0) @binding(9) var<storage, read> so_far: array<f32>;
@group(0) @binding(10) var<storage, read_write> dx: array<f32>;
@group(0) @binding(11) var<storage, read_write> dgain: array<f32>;
@group(0) @binding(12) var<storage, read_write> dbias: array<f32>;

// Invocations that share a row, a power of two: src/ops/tiles.ts says how many.
override LANES: u32 = 64;
var<workgroup> partial: array<vec2f, LANES>;

// A fixed tree, so that the sums have the same bytes on every run.
fn row_sum(lane: u32, value: vec2f) -> vec2f {
  partial[lane] = value;
  workgroupBarrier();
  for (var half = LANES / 2u; half > 0u; half /= 2u) {
    if (lane < half) {
      partial[lane] += partial[lane + half];
    }
    workgroupBarrier();
  }
  let sum = partial[0];
  // Nobody may write the next sum's parts before all have read this one.
  workgroupBarrier();
  return sum;
}

// One workgroup a row.
@compute @workgroup_size(LANES)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
           @builtin(local_invocation_index) lane: u32) {
  let row = flat_workgroup(group, groups);
  let live_row = row < extent(params.rows_extent);
  let start = row * params.width;
  var sum = 0.0;
  if (live_row) {
    for (var i = lane; i < params.width; i += LANES) {
      sum += x[start + i];
    }
  }
  let m = row_sum(lane, vec2f(sum, 0.0)).x / f32(params.width);
  var squares = 0.0;
  if (live_row) {
    for (var i = lane; i < params.width; i += LANES) {
      let centred = x[start + i] - m;
      squares += centred * centred;
    }
  }
  let r = 1.0 / sqrt(row_sum(lane, vec2f(squares, 0.0)).x / f32(params.width) + params.eps);
  if (!live_row) {
    return;
  }
  for (var i = lane; i < params.width; i += LANES) {
    y[start + i] = gain[i] * ((x[start + i] - m) * r) + bias[i];
  }
  if (lane == 0u) {
    stats_out[row] = vec2f(m, r);
  }
}

@compute @workgroup_size(LANES)
fn backward_input(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
                  @builtin(local_invocation_index) lane: u32) {
  let row = flat_workgroup(group, groups);
  let live_row = row < extent(params.rows_extent);
  let start = row * params.width;
  let m = stats[row].x;
  let r = stats[row].y;
  // Σ u and Σ u·x̂ at once.
  var sums = vec2f(0.0);
  if (live_row) {
    for (var i = lane; i < params.width; i += LANES) {
      let u = gain[i] * dy[start + i];
      sums += vec2f(u, u * ((x[start + i] - m) * r));
    }
  }
  let means = row_sum(lane, sums) / f32(params.width);
  if (!live_row) {
    return;
  }
  for (var i = lane; i < params.width; i += LANES) {
    var sum = r * (gain[i] * dy[start + i] - means.x - (x[start + i] - m) * r * means.y);
    if (params.has_so_far != 0u) {
      sum += so_far[start + i];
    }
    dx[start + i] = sum;
  }
}

// A workgroup sums 8 neighbouring columns, each by 32 lanes that take every 32nd row. Past the last column it sums
// what lies there, and does not store it.
const COLUMNS = 8u;
const ROW_LANES = 32u;
var<workgroup> column_partial: array<f32, COLUMNS * ROW_LANES>;

// The column's sum, valid in the first COLUMNS lanes. A fixed tree again.
fn column_sum(lane: u32, value: f32) -> f32 {
  column_partial[lane] = value;
  workgroupBarrier();
  for (var half = COLUMNS * ROW_LANES / 2u; half >= COLUMNS; half /= 2u) {
    if (lane < half) {
      column_partial[lane] += column_partial[lane + half];
    }
    workgroupBarrier();
  }
  return column_partial[lane];
}

@compute @workgroup_size(COLUMNS * ROW_LANES)
fn backward_gain(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
                 @builtin(local_invocation_index) lane: u32) {
  let column = flat_workgroup(group, groups) * COLUMNS + lane % COLUMNS;
  var part = 0.0;
  for (var row = lane / COLUMNS; row < extent(params.rows_extent); row += ROW_LANES) {
    let at = row * params.width + column;
    part += dy[at] * ((x[at] - stats[row].x) * stats[row].y);
  }
  let sum = column_sum(lane, part);
  if (lane < COLUMNS && column < params.width) {
    dgain[column] += sum;
  }
}

@compute @workgroup_size(COLUMNS * ROW_LANES)
fn backward_bias(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
                 @builtin(local_invocation_index) lane: u32) {
  let column = flat_workgroup(group, groups) * COLUMNS + lane % COLUMNS;
  var part = 0.0;
  for (var row = lane / COLUMNS; row < extent(params.rows_extent); row += ROW_LANES) {
    part += dy[row * params.width + column];
  }
  let sum = column_sum(lane, part);
  if (lane < COLUMNS && column < params.width) {
    dbias[column] += sum;
  }
}
