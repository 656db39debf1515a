// rotary — turn each pair of a head's features by an angle that grows with the position (RoPE; Su et al. 2021).
//   forward   x[i], x[i + half] = x[i]·c − x[i + half]·s,  x[i + half]·c + x[i]·s        half = head_dim / 2
//   backward  the transpose: the same with −s, on the incoming gradient
//   c, s      = cos[position, i], sin[position, i]
// x [rows, width], changed in place: its first heads · head_dim columns are heads, the others are not touched.
// positions [rows]; cos, sin [max positions, half].
// Pairs lie half a head apart, as in Llama's rotate_half, not side by side as in the paper. The tables come from
// the host, since WGSL's own sin and cos promise only 2⁻¹¹.
struct Params {
  rows_extent: u32,
  width: u32,
  heads: u32,
  head_dim: u32,
}
@group(0) @binding(1) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read_write> x: array<f32>;
@group(0) @binding(3) var<storage, read> positions: array<u32>;
@group(0) @binding(4) var<storage, read> cos_table: array<f32>;
@group(0) @binding(5) var<storage, read> sin_table: array<f32>;

// Turns the pair that belongs to invocation `i`; `direction` is the sine's sign.
fn turn(i: u32, direction: f32) {
  let half = params.head_dim / 2u;
  let pairs = params.heads * half;
  let row = i / pairs;
  if (row >= extent(params.rows_extent)) {
    return;
  }
  let pair = i % half;
  let head = (i % pairs) / half;
  let first = row * params.width + head * params.head_dim + pair;
  let second = first + half;
  let c = cos_table[positions[row] * half + pair];
  let s = sin_table[positions[row] * half + pair] * direction;
  let a = x[first];
  let b = x[second];
  x[first] = a * c - b * s;
  x[second] = b * c + a * s;
}

@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
           @builtin(local_invocation_index) lane: u32) {
  turn(flat_workgroup(group, groups) * 64u + lane, 1.0);
}

@compute @workgroup_size(64)
fn backward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
            @builtin(local_invocation_index) lane: u32) {
  turn(flat_workgroup(group, groups) * 64u + lane, -1.0);
}
