// lora — the low-rank path beside a frozen product. A projection may be several modules one below the other
// (q, k and v), of which some are adapted: one launch serves all of them.
//   down             p   = x·Aᵀ                      of every adapted module, side by side
//   up               y  += s·p·Bᵀ                    in the rows of W that belong to the module
//   backward_p       dp  = s·dy·B
//   backward_b       dB += s·dyᵀ·p
//   backward_a       dA += dpᵀ·x
//   backward_x       dx  = so_far + dp·A
// There is no dW: the frozen matrix has no gradient.
// x, dx, so_far [rows, width]; y, dy [rows, out]; p, dp [rows, ranks], ranks the sum of all r; A [r, width], B [r_out, r]
// lie in an arena, reached by offset; s = lora_alpha / r is read from `scales`, so it can be turned while running.
//
// `columns` describes each column j of p, eight words:
//   0 where row j of A starts   1 where column j of B starts   2 r   3 first row of W   4 rows of W   5 module
// `outputs` describes each row o of W, four words:
//   0 where row o of B starts   1 the module's first column of p   2 r, or 0 where the row is not adapted   3 module
struct Params {
  rows_extent: u32,
  width: u32,
  out: u32,
  ranks: u32,
  has_so_far: u32,
}
@group(0) @binding(1) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> columns: array<u32>;
@group(0) @binding(3) var<storage, read> outputs: array<vec4u>;
@group(0) @binding(4) var<storage, read> scales: array<f32>;
@group(0) @binding(5) var<storage, read> arena: array<f32>;
@group(0) @binding(6) var<storage, read_write> gradients: array<f32>;
@group(0) @binding(7) var<storage, read> x: array<f32>;
@group(0) @binding(8) var<storage, read> p: array<f32>;
@group(0) @binding(9) var<storage, read> dy: array<f32>;
@group(0) @binding(10) var<storage, read> dp: array<f32>;
@group(0) @binding(11) var<storage, read_write> p_out: array<f32>;
@group(0) @binding(12) var<storage, read_write> dp_out: array<f32>;
@group(0) @binding(13) var<storage, read_write> y: array<f32>;
@group(0) @binding(14) var<storage, read> so_far: array<f32>;
@group(0) @binding(15) var<storage, read_write> dx: array<f32>;

// One invocation a column of p and four rows: each value of A serves four tokens.
@compute @workgroup_size(64)
fn down(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let i = flat_workgroup(group, groups) * 64u + lane;
  let count = extent(params.rows_extent);
  let j = i % params.ranks;
  let t = i / params.ranks * 4u;
  if (t >= count) {
    return;
  }
  let a = columns[j * 8u];
  let row = min(vec4u(t) + vec4u(0u, 1u, 2u, 3u), vec4u(count - 1u)) * params.width;
  var sum = vec4f();
  for (var k = 0u; k < params.width; k++) {
    sum += arena[a + k] * vec4f(x[row.x + k], x[row.y + k], x[row.z + k], x[row.w + k]);
  }
  for (var n = 0u; n < 4u && t + n < count; n++) {
    p_out[(t + n) * params.ranks + j] = sum[n];
  }
}

@compute @workgroup_size(64)
fn up(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
      @builtin(local_invocation_index) lane: u32) {
  let i = flat_workgroup(group, groups) * 64u + lane;
  if (i >= extent(params.rows_extent) * params.out) {
    return;
  }
  let at = outputs[i % params.out];
  if (at.z == 0u) {
    return;
  }
  let row = i / params.out * params.ranks + at.y;
  var sum = 0.0;
  for (var j = 0u; j < at.z; j++) {
    sum += p[row + j] * arena[at.x + j];
  }
  y[i] += scales[at.w] * sum;
}

@compute @workgroup_size(64)
fn backward_p(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
              @builtin(local_invocation_index) lane: u32) {
  let i = flat_workgroup(group, groups) * 64u + lane;
  let count = extent(params.rows_extent);
  let j = i % params.ranks;
  let t = i / params.ranks * 4u;
  if (t >= count) {
    return;
  }
  let b = columns[j * 8u + 1u];
  let rank = columns[j * 8u + 2u];
  let first = columns[j * 8u + 3u];
  let row = min(vec4u(t) + vec4u(0u, 1u, 2u, 3u), vec4u(count - 1u)) * params.out + first;
  var sum = vec4f();
  for (var o = 0u; o < columns[j * 8u + 4u]; o++) {
    sum += arena[b + o * rank] * vec4f(dy[row.x + o], dy[row.y + o], dy[row.z + o], dy[row.w + o]);
  }
  sum *= scales[columns[j * 8u + 5u]];
  for (var n = 0u; n < 4u && t + n < count; n++) {
    dp_out[(t + n) * params.ranks + j] = sum[n];
  }
}

// One invocation a row of W and a column of p. `columns` says whether they belong to the same module.
@compute @workgroup_size(64)
fn backward_b(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
              @builtin(local_invocation_index) lane: u32) {
  let i = flat_workgroup(group, groups) * 64u + lane;
  if (i >= params.out * params.ranks) {
    return;
  }
  let o = i / params.ranks;
  let j = i % params.ranks;
  let at = outputs[o];
  if (j < at.y || j >= at.y + at.z) {
    return;
  }
  var sum = 0.0;
  for (var t = 0u; t < extent(params.rows_extent); t++) {
    sum += dy[t * params.out + o] * p[t * params.ranks + j];
  }
  gradients[at.x + j - at.y] += scales[at.w] * sum;
}

@compute @workgroup_size(64)
fn backward_a(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
              @builtin(local_invocation_index) lane: u32) {
  let i = flat_workgroup(group, groups) * 64u + lane;
  if (i >= params.width * params.ranks) {
    return;
  }
  let j = i / params.width;
  let k = i % params.width;
  var sum = 0.0;
  for (var t = 0u; t < extent(params.rows_extent); t++) {
    sum += dp[t * params.ranks + j] * x[t * params.width + k];
  }
  gradients[columns[j * 8u] + k] += sum;
}

@compute @workgroup_size(64)
fn backward_x(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
              @builtin(local_invocation_index) lane: u32) {
  let i = flat_workgroup(group, groups) * 64u + lane;
  if (i >= extent(params.rows_extent) * params.width) {
    return;
  }
  let t = i / params.width;
  let k = i % params.width;
  var sum = 0.0;
  for (var j = 0u; j < params.ranks; j++) {
    sum += dp[t * params.ranks + j] * arena[columns[j * 8u] + k];
  }
  if (params.has_so_far != 0u) {
    sum += so_far[i];
  }
  dx[i] = sum;
}
