// dropout — drop each element with probability p and scale the others up, so that the mean stays.
//   forward         y  = x ⊙ mask / (1 − p)
//   backward_input  dx = so_far + dy ⊙ mask / (1 − p)
//   mask            1 where word ≥ p · 2³², of a 32-bit word that belongs to the element
// x, y, dy, dx, so_far [rows, width]; row_in_step, positions [rows]; seed_step [2] = (seed, step).
// No mask is stored: both passes draw the same words from Philox4x32-10 (Salmon et al. 2011, "Parallel random
// numbers: as easy as 1, 2, 3"), with key (seed, module key) and counter (feature / 4, position, row in step, step);
// its four words are those of four neighbouring features. Where a row of the data lies in its micro-batch does not
// enter, so the mask does not depend on how a step was cut.
struct Params {
  rows_extent: u32,
  width: u32,
  // p · 2³²: words below it are dropped.
  threshold: u32,
  module_key: u32,
  has_so_far: u32,
  // 1 / (1 − p)
  scale: f32,
}
@group(0) @binding(1) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> seed_step: array<u32>;
@group(0) @binding(3) var<storage, read> row_in_step: array<u32>;
@group(0) @binding(4) var<storage, read> positions: array<u32>;
@group(0) @binding(5) var<storage, read> x: array<f32>;
@group(0) @binding(6) var<storage, read_write> y: array<f32>;
@group(0) @binding(7) var<storage, read> dy: array<f32>;
@group(0) @binding(8) var<storage, read> so_far: array<f32>;
@group(0) @binding(9) var<storage, read_write> dx: array<f32>;

// The upper half of a 64-bit product, by 16-bit parts; no sum here passes 2³² − 1.
fn multiply_high(a: u32, b: u32) -> u32 {
  let middle = (a >> 16u) * (b & 0xffffu) + (((a & 0xffffu) * (b & 0xffffu)) >> 16u);
  let carried = (a & 0xffffu) * (b >> 16u) + (middle & 0xffffu);
  return (a >> 16u) * (b >> 16u) + (middle >> 16u) + (carried >> 16u);
}

fn philox(first_key: vec2u, first_counter: vec4u) -> vec4u {
  var key = first_key;
  var c = first_counter;
  for (var round = 0u; round < 10u; round++) {
    c = vec4u(
      multiply_high(0xcd9e8d57u, c.z) ^ c.y ^ key.x,
      0xcd9e8d57u * c.z,
      multiply_high(0xd2511f53u, c.x) ^ c.w ^ key.y,
      0xd2511f53u * c.x,
    );
    key += vec2u(0x9e3779b9u, 0xbb67ae85u);
  }
  return c;
}

fn blocks_per_row() -> u32 {
  return (params.width + 3u) / 4u;
}

// What four features of a row are multiplied by: 0 or 1 / (1 − p) each.
fn factors(row: u32, block: u32) -> vec4f {
  let key = vec2u(seed_step[0], params.module_key);
  let words = philox(key, vec4u(block, positions[row], row_in_step[row], seed_step[1]));
  return select(vec4f(0.0), vec4f(params.scale), words >= vec4u(params.threshold));
}

// One invocation for four features.
@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
           @builtin(local_invocation_index) lane: u32) {
  let i = flat_workgroup(group, groups) * 64u + lane;
  let row = i / blocks_per_row();
  let block = i % blocks_per_row();
  if (row >= extent(params.rows_extent)) {
    return;
  }
  let factor = factors(row, block);
  for (var k = 0u; k < 4u && block * 4u + k < params.width; k++) {
    let at = row * params.width + block * 4u + k;
    y[at] = x[at] * factor[k];
  }
}

@compute @workgroup_size(64)
fn backward_input(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
                  @builtin(local_invocation_index) lane: u32) {
  let i = flat_workgroup(group, groups) * 64u + lane;
  let row = i / blocks_per_row();
  let block = i % blocks_per_row();
  if (row >= extent(params.rows_extent)) {
    return;
  }
  let factor = factors(row, block);
  for (var k = 0u; k < 4u && block * 4u + k < params.width; k++) {
    let at = row * params.width + block * 4u + k;
    var sum = dy[at] * factor[k];
    if (params.has_so_far != 0u) {
      sum += so_far[at];
    }
    dx[at] = sum;
  }
}
