// swiglu — the gated unit of Llama's feed-forward (Shazeer 2020): one half of a fused projection gates the other.
//   forward         y     = silu(gate) ⊙ up                    silu(g) = g·σ(g),  σ(g) = 1 / (1 + exp(−g))
//   backward_input  dgate = so_far + dy ⊙ up ⊙ σ(g)·(1 + g·σ(−g))
//                   dup   = so_far + dy ⊙ silu(gate)
// gate_up, dgate_up, so_far [rows, 2 · width], gate | up in each row; y, dy [rows, width].
struct Params {
  rows_extent: u32,
  width: u32,
  has_so_far: u32,
}
@group(0) @binding(1) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> gate_up: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<storage, read> dy: array<f32>;
@group(0) @binding(5) var<storage, read> so_far: array<f32>;
@group(0) @binding(6) var<storage, read_write> dgate_up: array<f32>;

// σ(g) and σ(−g). exp sees no positive number, so it cannot overflow; 1 − σ(g) would cancel.
fn sigmoids(g: f32) -> vec2f {
  let small = exp(-abs(g));
  let both = vec2f(1.0, small) / (1.0 + small);
  return select(both.yx, both, g >= 0.0);
}

@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
           @builtin(local_invocation_index) lane: u32) {
  let i = flat_workgroup(group, groups) * 64u + lane;
  let row = i / params.width;
  if (row >= extent(params.rows_extent)) {
    return;
  }
  let gate = i + row * params.width;
  y[i] = gate_up[gate] * sigmoids(gate_up[gate]).x * gate_up[gate + params.width];
}

@compute @workgroup_size(64)
fn backward_input(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
                  @builtin(local_invocation_index) lane: u32) {
  let i = flat_workgroup(group, groups) * 64u + lane;
  let row = i / params.width;
  if (row >= extent(params.rows_extent)) {
    return;
  }
  let gate = i + row * params.width;
  let up = gate + params.width;
  let g = gate_up[gate];
  let s = sigmoids(g);
  var dgate = dy[i] * gate_up[up] * s.x * (1.0 + g * s.y);
  var dup = dy[i] * g * s.x;
  if (params.has_so_far != 0u) {
    dgate += so_far[gate];
    dup += so_far[up];
  }
  dgate_up[gate] = dgate;
  dgate_up[up] = dup;
}
